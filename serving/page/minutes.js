// The chart of the last hour: net revenue, what was given back, and orders, minute by minute, up to the newest event.
// The same figures as a table, and minute by minute by the arrow keys.

import { compact, count, minuteOf, money, shortMoney } from "./format.js";
import { Rows, setText } from "./rows.js";

const { uPlot } = window; // vendor/uplot
const MINUTES = 60;
const byId = (id) => document.getElementById(id);

export class MinuteChart {
  #rows = [];
  #currency = "";
  #zone = "UTC";
  #plots = [];
  #rem = ""; // the root's font size that the plots were made for
  #text = byId("minutes-text");
  #details = byId("minutes-details");
  #table = new Rows(byId("minutes-rows"));

  constructor() {
    const box = byId("minutes");
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("blur", () => this.#leave());
    this.#details.addEventListener("toggle", () => this.#drawTable());
    // The width depends on the window, the fonts on the root's size.
    new ResizeObserver(() => this.#fit()).observe(box);
  }

  // A snapshot of /v1/live. A minute without orders is a minute with none, not a hole.
  show(snapshot) {
    this.#currency = snapshot.currency;
    this.#zone = snapshot.time_zone;
    // Now: the newest event, or the broker's newest time if that is earlier. The service has the same hour.
    const times = [snapshot.as_of.event_time, snapshot.freshness.newest_record_time];
    const newest = times.includes(null) ? null : Math.min(...times.map((text) => Date.parse(text)));
    const known = new Map(snapshot.revenue_by_minute.map((m) => [Date.parse(m.start) / 1000, m]));
    const last = newest === null ? null : Math.floor(newest / 60_000) * 60;
    this.#rows = last === null ? [] : Array.from({ length: MINUTES }, (_, n) => {
      const at = last - (MINUTES - 1 - n) * 60;
      return { at, gross: "0.00", net: "0.00", orders: 0, ...known.get(at) };
    });
    if (this.#rows.length === 0) {
      // Another state than before, in which nothing has happened yet: what stood here is not of it.
      for (const plot of this.#plots) plot.destroy();
      this.#plots = [];
      setText(this.#text, "no orders yet");
      this.#drawTable();
      return;
    }
    if (this.#plots.length === 0) this.#build();
    const [revenue, orders] = this.#data();
    this.#plots[0].setData(revenue);
    this.#plots[1].setData(orders);
    this.#say();
    this.#drawTable();
  }

  // In the colours of the day or of the night.
  recolour() {
    for (const plot of this.#plots) plot.redraw();
  }

  #data() {
    const times = this.#rows.map((row) => row.at);
    // A bar of nothing would be drawn one pixel high.
    const column = (name) => this.#rows.map((row) => Number(row[name]) || null);
    return [[times, column("gross"), column("net")], [times, column("orders")]];
  }

  #build() {
    const [revenue, orders] = this.#data();
    this.#rem = rootSize();
    this.#plots = [
      new uPlot(this.#options(byId("minutes-revenue"), [bars("swatch-given"), bars("swatch-net")],
        (value) => shortMoney(value, this.#currency), false), revenue, byId("minutes-revenue")),
      new uPlot(this.#options(byId("minutes-orders"), [bars("swatch-orders")], (value) => compact(value), true),
        orders, byId("minutes-orders")),
    ];
  }

  #options(box, series, label, last) {
    const rem = Number.parseFloat(this.#rem);
    const soft = () => getComputedStyle(this.#text).color;
    const line = () => getComputedStyle(box).borderTopColor;
    const axis = { stroke: soft, font: `${0.75 * rem}px system-ui, sans-serif`, ticks: { show: false } };
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      legend: { show: false },
      padding: [0.5 * rem, rem, last ? 0 : 0.5 * rem, 0],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, sync: { key: "minutes" } },
      scales: {
        // Of the data and not of the range before: a plot that is drawn again must not grow.
        x: { time: false, range: (plot) => [plot.data[0][0] - 30, plot.data[0].at(-1) + 30] },
        y: { range: (_, low, high) => [0, Math.max(high * 1.05, 1)] },
      },
      axes: [
        {
          ...axis, grid: { show: false }, size: last ? 1.6 * rem : 0, show: last, space: 4 * rem,
          incrs: [300, 600, 900, 1800], values: (_, splits) => splits.map((at) => minuteOf(at, this.#zone)),
        },
        {
          ...axis, grid: { stroke: line, width: 1 }, size: 3.6 * rem, space: 2 * rem,
          incrs: last ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000] : undefined,
          values: (_, splits) => splits.map((value) => label(value)),
        },
      ],
      series: [{}, ...series],
      hooks: { setCursor: [() => this.#say()] },
    };
  }

  #fit() {
    if (this.#plots.length > 0 && this.#rem !== rootSize()) {
      for (const plot of this.#plots) plot.destroy();
      this.#build();
    }
    this.#plots.forEach((plot, n) => {
      const box = byId(n === 0 ? "minutes-revenue" : "minutes-orders");
      plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    });
  }

  // What the chart says in one line: of the minute that is pointed at, else of the highest one.
  #say() {
    if (this.#rows.length === 0) return;
    const at = this.#plots[0]?.cursor.idx;
    setText(this.#text, this.#rows[at] === undefined ? this.#highest() : this.#sentence(this.#rows[at]));
  }

  #sentence(row) {
    const amounts = `${money(row.net, this.#currency)} net of ${money(row.gross, this.#currency)} gross`;
    return `${minuteOf(row.at, this.#zone)}: ${amounts}, ${count(row.orders)} ${row.orders === 1 ? "order" : "orders"}`;
  }

  #highest() {
    const top = this.#rows.reduce((best, row) => (Number(row.gross) > Number(best.gross) ? row : best));
    return top.orders === 0 ? "no orders in this hour" : `Highest at ${this.#sentence(top)}`;
  }

  #drawTable() {
    if (!this.#details.open) return;
    this.#table.show(this.#rows.toReversed().map((row) => ({
      key: row.at,
      cells: [minuteOf(row.at, this.#zone), money(row.gross, this.#currency), money(row.net, this.#currency),
        count(row.orders)],
    })));
  }

  #key(event) {
    if (this.#rows.length === 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = this.#plots[0].cursor.idx ?? this.#rows.length;
    const end = this.#rows.length - 1;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: end, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#text.setAttribute("aria-live", "polite"); // announced only where keys ask for it
    if (to === null) this.#point(-10);
    else this.#point(this.#plots[0].valToPos(this.#rows[Math.max(0, Math.min(end, to))].at, "x"));
  }

  #leave() {
    this.#text.setAttribute("aria-live", "off");
    this.#point(-10);
  }

  #point(left) {
    for (const plot of this.#plots) plot.setCursor({ left, top: left < 0 ? -10 : 1 });
  }
}

const rootSize = () => getComputedStyle(document.documentElement).fontSize;

// A series of bars in the colour of its swatch in the legend, whichever colours hold now.
function bars(swatch) {
  const colour = () => getComputedStyle(byId(swatch)).backgroundColor;
  return { paths: uPlot.paths.bars({ size: [0.72, 28] }), points: { show: false }, width: 0, fill: colour, stroke: colour };
}

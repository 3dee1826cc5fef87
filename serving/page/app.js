// The page: shows the newest snapshot, and says honestly how far it can be trusted.

import { LiveStream } from "./stream.js";

const KEY = "dataflow-key";
const MINUTES = 60;
const STALE_S = 5;

const byId = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hour12: false });

// connected: whether the stream stands; state: what the service says of itself; snapshot: the newest one.
const view = { connected: false, state: "connecting", reason: "", snapshot: null, health: null, healthAt: 0 };

function money(text, currency) {
  if (text === null) return "–";
  const [whole, cents] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${currency} ${grouped}.${cents}`;
}

const ratio = (value) => (value === null ? "–" : percent.format(value));

function put(name, text) {
  for (const node of document.querySelectorAll(`[data-value="${name}"]`)) node.textContent = text;
}

function row(...cells) {
  const line = document.createElement("tr");
  cells.forEach((cell, n) => {
    const node = document.createElement(n === 0 ? "th" : "td");
    if (n === 0) node.scope = "row";
    if (cell instanceof Node) node.append(cell);
    else node.textContent = cell;
    line.append(node);
  });
  return line;
}

function svg(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function bar(share) {
  const box = svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  box.append(svg("rect", { width: Math.max(0, Math.min(100, share * 100)), height: 10, rx: 1 }));
  return box;
}

function drawNumbers(s) {
  const { currency } = s;
  for (const name of ["gross", "net", "average_order_value"]) put(name, money(s.revenue[name], currency));
  put("orders", count.format(s.revenue.orders));
  put("units", count.format(s.items.units));
  put("success_rate", ratio(s.payments.success_rate));
  put("sessions", count.format(s.active.sessions));
  put("visitors", count.format(s.active.visitors));
  put("new_customers", count.format(s.customers.new_customers));
  put("conversion", ratio(s.funnel.conversion));

  const stages = ["product_view", "add_to_cart", "checkout", "purchase"];
  const most = Math.max(1, ...stages.map((stage) => s.funnel[stage]));
  const funnel = stages.map((stage) =>
    row(stage.replaceAll("_", " "), count.format(s.funnel[stage]), bar(s.funnel[stage] / most)));
  byId("funnel").replaceChildren(...funnel);
  byId("top").replaceChildren(...s.top_products.map((p) =>
    row(p.name ?? p.product_id, p.category ?? "unknown", count.format(p.units), money(p.revenue, currency))));
  drawMinutes(s);
}

function drawMinutes(s) {
  const chart = byId("minutes");
  const newest = s.as_of.event_time === null ? 0 : Math.floor(Date.parse(s.as_of.event_time) / 60_000);
  const bars = s.revenue_by_minute.map((m) => ({
    age: newest - Date.parse(m.start) / 60_000, gross: Number(m.gross), orders: m.orders, start: new Date(m.start),
  }));
  const most = Math.max(0, ...bars.map((b) => b.gross));
  const width = 600 / MINUTES;
  chart.replaceChildren(...bars.filter((b) => b.age >= 0 && b.age < MINUTES).map((b) => {
    const height = most > 0 ? (b.gross / most) * 118 : 0;
    const x = 600 - (b.age + 1) * width;
    const rect = svg("rect", { x: x + 1, y: 120 - height, width: width - 2, height });
    const title = svg("title", {});
    title.textContent = `${clock.format(b.start)}: ${money(b.gross.toFixed(2), s.currency)}, ${b.orders} orders`;
    rect.append(title);
    return rect;
  }));
  byId("minutes-text").textContent = bars.length === 0
    ? "no orders yet"
    : `the ${MINUTES} minutes up to the newest event; highest ${money(most.toFixed(2), s.currency)}`;
}

function drawHealth() {
  const { health, snapshot } = view;
  if (health === null) return;
  const waited = (performance.now() - view.healthAt) / 1000;
  const behind = health.lag.records_behind;
  put("freshness", behind === 0 ? "nothing waits" : `${(health.freshness.freshness_ms / 1000 + waited).toFixed(1)} s`);
  const known = health.lag.stale ? " (log ends not known at the moment)" : "";
  put("lag", `${count.format(behind)} records${known}`);
  put("event_time", health.as_of.event_time ?? "none yet");
  put("generation", health.as_of.generation);
  put("position", count.format(health.as_of.position));
  const held = Object.entries(health.exactness.held);
  const { changed, repeat, superseded, refused } = health.exactness.counts;
  put("exactness", held.length > 0
    ? `held: ${held.map(([place, reason]) => `${place} (${reason})`).join("; ")}`
    : `${count.format(health.exactness.offsets)} offsets = ${count.format(changed)} changed + ${count.format(repeat)} `
      + `repeated + ${count.format(superseded)} superseded + ${count.format(refused)} refused + `
      + `${count.format(health.exactness.counts.empty)} without a record`);
  if (snapshot !== null) {
    byId("events").replaceChildren(...snapshot.events.map((e) => row(
      e.topic, count.format(e.records), count.format(e.refused), ratio(e.error_rate),
      count.format(health.lag.by_topic[e.topic] ?? 0))));
  }
}

// What the reader may believe: one word, and how old the numbers are.
function judge() {
  if (view.state === "key needed") return ["disconnected", "key needed"];
  if (!view.connected) return ["disconnected", view.reason ? "disconnected – retrying" : "connecting"];
  if (view.state !== "live") return [view.state, view.state];
  if (view.health === null) return ["connecting", "connecting"];
  const waited = (performance.now() - view.healthAt) / 1000;
  const { freshness, lag } = view.health;
  if (lag.records_behind > 0) {
    const age = freshness.freshness_ms / 1000 + waited;
    if (age > STALE_S) return ["stale", `stale (${Math.round(age)} s)`];
  }
  if (lag.stale) return ["stale", "stale (lag not known)"];
  return ["live", "live"];
}

function exactness(state) {
  if (state === "rebuilding") return ["rebuilding", "rebuilding"];
  if (view.health === null || state !== "live") return ["unknown", "exactness unknown"];
  if (Object.keys(view.health.exactness.held).length > 0) return ["held", "held"];
  return view.health.exactness.exact ? ["exact", "exact"] : ["inexact", "counts differ"];
}

function badge(id, [state, text]) {
  const node = byId(id);
  node.dataset.state = state;
  if (node.textContent !== text) node.textContent = text; // announced only when it changes
}

function drawState() {
  const judged = judge();
  badge("state", judged);
  badge("exact", exactness(judged[0] === "stale" ? "live" : judged[0]));
  byId("state").title = view.reason;
  byId("numbers").classList.toggle("dim", judged[0] !== "live");
}

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (view.snapshot !== null) drawNumbers(view.snapshot);
    drawHealth();
    drawState();
  });
}

function take(event, data) {
  if (event === "snapshot") {
    Object.assign(view, { snapshot: data, health: data, healthAt: performance.now(), state: "live", reason: "" });
  } else if (event === "state") {
    Object.assign(view, { state: data.state, reason: data.detail ?? "" });
    if (data.lag) Object.assign(view, { health: data, healthAt: performance.now() });
  }
  draw();
}

function start() {
  const stream = new LiveStream("/v1/live", sessionStorage.getItem(KEY), {
    message: take,
    connected: () => { Object.assign(view, { connected: true, reason: "" }); draw(); },
    disconnected: (reason) => { Object.assign(view, { connected: false, reason }); draw(); },
    needsKey: (refused) => {
      sessionStorage.removeItem(KEY);
      Object.assign(view, { connected: false, state: "key needed" });
      draw();
      byId("key-form").hidden = false;
      byId("key-error").textContent = refused ? "This key was not accepted." : "";
      byId("key").focus();
    },
  });
  stream.run();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("key").value);
  byId("key").value = "";
  byId("key-form").hidden = true;
  view.state = "connecting";
  start();
});
setInterval(() => { drawHealth(); drawState(); }, 1000); // an age grows without a message
start();

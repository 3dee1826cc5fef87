// The numbers of a snapshot, where they stand on the page: headline figures and the tables. Reads a snapshot of /v1/live.

import { count, country, major, minor, moment, money, ratio, words } from "./format.js";
import { drawMore } from "./more.js";
import { put, Rows } from "./rows.js";

const ROWS = 8; // of a ranking, with the one for all others
const STAGES = ["product_view", "add_to_cart", "checkout", "purchase"];
const table = (id) => new Rows(document.getElementById(id));
const tables = Object.fromEntries(
  ["funnel", "products", "categories", "countries", "topics"].map((id) => [id, table(id)]));

export function drawNumbers(s) {
  const { currency } = s;
  for (const name of ["gross", "cancelled", "refunded", "net", "average_order_value"]) {
    put(name, money(s.revenue[name], currency));
  }
  put("orders", count(s.revenue.orders));
  put("units", count(s.items.units));
  put("success_rate", ratio(s.payments.success_rate));
  put("payments_aside", `${count(s.payments.succeeded)} of ${count(s.payments.succeeded + s.payments.failed)} attempts`);
  put("sessions", count(s.active.sessions));
  put("visitors", count(s.active.visitors));
  put("new_customers", count(s.customers.new_customers));
  put("conversion", ratio(s.funnel.conversion));
  put("currency", currency);
  put("time_zone", s.time_zone);
  drawParts(s.revenue);
  drawFunnel(s.funnel);
  drawRanks(s);
  drawMore(s.more_metrics, currency);
}

// How gross revenue divides into what remains, what was cancelled and what was refunded.
function drawParts(revenue) {
  ["net", "cancelled", "refunded"].forEach((name, n) => {
    document.getElementById("parts").children[n].style.setProperty("--share", Number(revenue[name]));
  });
}

function drawFunnel(funnel) {
  const first = funnel[STAGES[0]];
  tables.funnel.show(STAGES.map((stage) => {
    const share = first > 0 ? funnel[stage] / first : null;
    return { key: stage, cells: [words(stage), count(funnel[stage]), ratio(share)], share: share ?? 0 };
  }));
}

function drawRanks(s) {
  const { currency } = s;
  const most = Number(s.top_products[0]?.revenue ?? 0);
  tables.products.show(s.top_products.slice(0, ROWS).map((p) => ({
    key: p.product_id ?? "",
    cells: [p.name ?? p.product_id ?? "Unknown", count(p.units), money(p.revenue, currency)],
    aside: p.category ?? "unknown",
    share: Number(p.revenue) / most,
  })));
  tables.categories.show(shares(
    s.items_by_category.map((c) => ({ name: words(c.category), of: c.category, many: c.units, amount: c.revenue })),
    s.items.units, s.items.revenue, currency));
  tables.countries.show(shares(
    s.revenue_by_country.map((c) => (
      { name: country(c.shipping_country), of: c.shipping_country, many: c.orders, amount: c.gross })),
    s.revenue.orders, s.revenue.gross, currency));
}

// Rows with their bars; what the ranking left out is one row more, so that the rows add up to the whole.
function shares(all, many, amount, currency) {
  const parts = all.length > ROWS ? all.slice(0, ROWS - 1) : all;
  const most = Number(parts[0]?.amount ?? 0);
  const rows = parts.map((p) => ({
    key: p.of ?? "", cells: [p.name, count(p.many), money(p.amount, currency)], share: Number(p.amount) / most,
  }));
  const left = parts.reduce((rest, p) => rest - minor(p.amount), minor(amount));
  const others = parts.reduce((rest, p) => rest - p.many, many);
  if (left !== 0n || others !== 0) {
    const text = major(left);
    rows.push({
      key: "others/", cells: ["All others", count(others), money(text, currency)], share: Number(text) / most, state: "rest",
    });
  }
  return rows;
}

// What waits changes without a snapshot, so `lag` is the newest that is known of it.
export function drawTopics(s, lag) {
  const counted = new Map(s.events.map((e) => [e.topic, e]));
  const none = { records: 0, refused: 0, error_rate: null };
  const topics = Object.keys(lag.by_topic).concat([...counted.keys()].filter((t) => !(t in lag.by_topic)));
  tables.topics.show(topics.map((topic) => {
    const { records, refused, error_rate } = counted.get(topic) ?? none;
    return {
      key: topic,
      cells: [topic, count(records), count(refused), ratio(error_rate), count(lag.by_topic[topic] ?? 0),
        moment(s.newest_by_topic[topic], s.time_zone)],
      state: refused > 0 ? "refused" : "",
    };
  }));
  const sum = (name) => s.events.reduce((total, e) => total + e[name], 0);
  const [records, refused] = [sum("records"), sum("refused")];
  put("records", count(records));
  put("dead_letters", count(refused));
  put("error_rate", ratio(records > 0 ? refused / records : null));
}

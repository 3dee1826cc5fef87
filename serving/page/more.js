// Metrics that the page knows nothing of, as they describe themselves in a snapshot: name, what it is, its figures.

import { count, money, NONE, words } from "./format.js";
import { setText } from "./rows.js";

// A ratio may be a share or a mean, so it is shown as the number that it is.
const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 4 });
const WORDING = { money, count, ratio: (value) => numbers.format(value) };
let drawn = "";

// metrics: [{name, doc, figures: [{name, doc, unit, value}]}], all of them over all time.
export function drawMore(metrics, currency) {
  document.getElementById("more").hidden = metrics.length === 0;
  // What is there is kept, so that nothing flickers; other metrics come only with a restart of the service.
  const declared = JSON.stringify(metrics.map((m) => [m.name, m.doc, m.figures.map((f) => [f.name, f.doc])]));
  if (declared !== drawn) {
    document.getElementById("more-metrics").replaceChildren(...metrics.map(build));
    drawn = declared;
  }
  for (const metric of metrics) {
    for (const { name, unit, value } of metric.figures) {
      const text = value === null ? NONE : WORDING[unit](value, currency);
      setText(document.getElementById(idOf(metric, name)), text);
    }
  }
}

const idOf = (metric, figure) => `more-${metric.name}-${figure}`;

function build(metric) {
  const section = document.createElement("section");
  const facts = element("dl", "facts", "");
  for (const { name, doc } of metric.figures) {
    const value = element("dd", "", NONE);
    value.id = idOf(metric, name);
    const group = document.createElement("div");
    group.append(element("dt", "", words(name)), value, element("dd", "note", doc));
    facts.append(group);
  }
  section.append(element("h3", "", words(metric.name)), element("p", "note", metric.doc), facts);
  return section;
}

function element(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind !== "") node.className = kind;
  node.textContent = text;
  return node;
}

// Plans and differences as elements.

import { count, NONE } from "./format.js";
import { cell, element } from "./rest.js";

function table(heads, rows) {
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  const node = document.createElement("table");
  const head = node.createTHead().insertRow();
  for (const text of heads) {
    const th = element("th", text);
    th.scope = "col";
    head.append(th);
  }
  const body = node.createTBody();
  for (const cells of rows) body.insertRow().append(...cells.map(cell));
  scroll.append(node);
  return scroll;
}

export function planParts(plan) {
  const affected = Object.entries(plan.affects).filter(([, names]) => names.length > 0);
  const topics = new Map();
  for (const { topic, start, seam, end } of plan.spans) {
    const one = topics.get(topic) ?? { archived: 0, kafka: 0 };
    one.archived += Math.max(0, Math.min(seam, end) - start);
    one.kafka += Math.max(0, end - Math.max(start, seam));
    topics.set(topic, one);
  }
  return [
    element("p", plan.changed.length === 0 ? "The code decides nothing otherwise: it should give the same, row by row."
      : `Changes: ${plan.changed.join(", ")}.`),
    ...affected.map(([kind, names]) => element("p", `Affects ${kind}: ${names.join(", ")}.`)),
    ...(plan.days ? [element("p", `Only rows of ${[...new Set(plan.days)].join("..")} are meant to differ.`)] : []),
    ...(plan.trial ? [element("p", "A trial of some records: it can be compared, and never promoted.")] : []),
    element("p", `About ${count(Math.ceil(plan.estimate.seconds))} s once its processes are up, and ${count(Math.ceil((plan.estimate.disk + (plan.estimate.state ?? 0)) / 1e6))} MB.`),
    table(["Topic", "Records from Kafka", "Records from bronze"],
      [...topics].map(([topic, one]) => [topic, count(one.kafka), count(one.archived)])),
  ];
}

export function differenceParts(found) {
  const differing = found.relations.filter((each) => !each.equal);
  const parts = differing.length === 0 ? [] : [
    table(["Table or metric", "Rows", "Changed", `Only in ${found.one.generation}`, `Only in ${found.other.generation}`, "Columns"],
      differing.map((each) => [
        each.title, count(each.rows.other), count(each.rows.changed), count(each.rows.only_one), count(each.rows.only_other),
        columnsOf(each).join(", ") || NONE,
      ])),
  ];
  for (const side of [found.one, found.other].filter(({ fewer }) => fewer > 0)) {
    parts.push(element("p", `${side.generation} begins behind ${count(side.fewer)} records of the other one.`));
  }
  for (const only of found.only_in_other) {
    parts.push(element("p", `Only in ${found.other.generation}: ${only.kind} ${only.title}, ${count(only.rows)} rows.`));
  }
  for (const only of found.only_in_one) {
    parts.push(element("p", `Only in ${found.one.generation}: ${only.kind} ${only.title}, ${count(only.rows)} rows.`));
  }
  for (const each of differing.filter((one) => one.examples.length > 0)) {
    parts.push(element("h3", each.title));
    parts.push(table(["Row", "Was", "Is"], each.examples.slice(0, 5).map((example) => [
      words(example.key), words(example.one), words(example.other),
    ])));
  }
  return parts;
}

function columnsOf({ changed_columns: changed, declared }) {
  return [
    ...Object.keys(changed),
    ...declared.only_in_other.map((name) => `${name} (new)`),
    ...declared.only_in_one.map((name) => `${name} (gone)`),
    ...(declared.key === null ? [] : [`named by ${declared.key[1].join(", ")}, before by ${declared.key[0].join(", ")}`]),
  ];
}

function words(values) {
  if (values === null) return NONE;
  return Object.entries(values).map(([name, value]) => `${name} ${value ?? "nothing"}`).join(", ");
}

// One dead letter, whole: why it was refused, what is known of it, and its record as far as it can be decoded.

import { count, moment, NONE } from "./format.js";
import { cell, element } from "./rest.js";
import { setText } from "./rows.js";

const byId = (id) => document.getElementById(id);

export function drawLetter(letter) {
  setText(byId("letter-title"), letter.id);
  const { content, bytes } = letter;
  const schema = content?.schema;
  const facts = [
    ["Taken", letter.kafka_time === null ? NONE : `${moment(letter.kafka_time, "UTC")} UTC`],
    ["Refused", `${moment(letter.refused_at, "UTC")} UTC`],
    ["Size", `${count(letter.size)} bytes${letter.truncated ? `, of which ${count(bytes.kept)} are kept` : ""}`],
    ["Key", letter.key ?? NONE],
    ["Begins with", bytes.hex === "" ? NONE : bytes.hex.replace(/../g, "$& ").trim()],
    ["Headers", letter.headers.map(({ name, value }) => `${name}: ${value ?? NONE}`).join(" · ") || NONE],
    ["Schema", schema ? `${schema.topic}, version ${schema.version}` : NONE],
  ];
  byId("letter-facts").replaceChildren(...facts.map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
  const why = letter.reasons.map((reason) => `${reason.rule}: ${reason.description ?? "no description"}`);
  const said = [...why, ...(letter.detail === null ? [] : [letter.detail]), ...(content?.problems ?? [])];
  byId("letter-why").replaceChildren(...said.map((text) => element("li", text)));
  const fields = Object.entries(content?.fields ?? {});
  byId("letter-record").hidden = fields.length === 0;
  byId("letter-fields").replaceChildren(...fields.map(([name, value]) => {
    const head = element("th", name);
    head.scope = "row";
    const row = element("tr");
    row.append(head, cell(typeof value === "string" ? value : JSON.stringify(value)));
    return row;
  }));
  byId("letter").hidden = false;
  byId("letter-title").focus();
}

// One table or view of the data dictionary: what it is, how large and how fresh, its columns, and some rows if asked.

import { compact, count, duration, moment, NONE } from "./format.js";
import { ask, cell, element } from "./rest.js";
import { setText } from "./rows.js";

const SAMPLE = 10; // rows
const NUMBERS = /^(int|long|decimal)/;

export class TableCard {
  node = element("details");
  #table;
  #headers;
  #facts = null;
  #manifest = null;
  #figures = element("span");
  #size = element("p");
  #sample = element("div");
  #button = element("button", "Show some rows");
  #asked = 0; // only the answer to the newest question is shown

  // table: as /v1/tables describes it; headers: () => what a request must carry
  constructor(table, headers) {
    this.#table = table;
    this.#headers = headers;
    this.node.className = "card table";
    this.node.id = table.name;
    const summary = element("summary");
    this.#figures.className = "figures";
    summary.append(span("name", table.name), this.#figures, span("doc", table.doc));
    const inside = element("div");
    inside.className = "inside";
    this.#size.className = "note";
    inside.append(this.#key(), ...this.#origin(), this.#size, this.#columns(), this.#rows());
    this.node.append(summary, inside);
  }

  open() {
    this.node.open = true;
    this.node.scrollIntoView();
    this.node.querySelector("summary").focus({ preventScroll: true });
  }

  // Whether its name, its meaning or one of its columns has the text; hidden if not.
  match(text) {
    const { name, doc, columns } = this.#table;
    const found = [name, doc, ...columns.map((column) => column.name)].some((each) => each.toLowerCase().includes(text));
    this.node.hidden = !found;
    return found;
  }

  // facts: null where there is no lake, or not this table any more; manifest: the one that they are of
  show(facts, manifest) {
    this.#facts = facts;
    this.#manifest = manifest;
    const { version, stored_rows: stored, files, bytes, written_at: written } = facts ?? {};
    this.#size.hidden = facts === null;
    if (facts !== null) {
      const at = written === null ? "never written" : `written ${moment(written, "UTC")} UTC`;
      setText(this.#size, version === null ? `Newest of its tables ${at}.`
        : `Delta version ${count(version)}: ${many(files, "file")}, ${many(stored, "stored row")}, `
          + `${compact(bytes)} bytes; ${at}.`);
    }
    this.tick();
  }

  // Ages grow.
  tick() {
    if (this.#facts === null) {
      setText(this.#figures, "");
      return;
    }
    const { rows, rows_at: rowsAt, version, written_at: written } = this.#facts;
    const older = rowsAt === this.#manifest ? "" : ` at manifest ${count(rowsAt ?? 0)}`;
    const parts = [rows === null ? "rows not counted" : `${many(rows, "row")}${older}`];
    if (version !== null) parts.push(`version ${count(version)}`);
    parts.push(written === null ? "never written" : `${duration(Date.now() - Date.parse(written))} ago`);
    setText(this.#figures, parts.join(" · "));
  }

  #key() {
    const { key, order } = this.#table;
    return element("p", key.length > 0 ? `One row for each ${key.join(" and ")}, in that order.`
      : `Rows are only added, and shown in the order of ${order.join(" and ")}.`);
  }

  // Of what it is made.
  #origin() {
    const { topic, reads, sql } = this.#table;
    if (sql === null) return topic === null ? [] : [element("p", `From topic ${topic}.`)];
    const from = element("p", "Made of ");
    reads.forEach((name, n) => {
      const link = element("a", name);
      link.href = `#${name}`;
      from.append(...(n === 0 ? [] : [", "]), link);
    });
    const details = element("details");
    const text = element("pre");
    text.tabIndex = 0;
    text.append(element("code", sql));
    details.append(element("summary", "How, as SQL"), text);
    return [from, details];
  }

  #columns() {
    const body = element("tbody");
    body.append(...this.#table.columns.map((column) => {
      const row = element("tr");
      const head = element("th", column.name);
      head.scope = "row";
      if (column.personal) head.append(span("mark", "personal"));
      const type = cell(`${column.type}${column.nullable ? " or null" : ""}`);
      type.className = "type";
      const meaning = cell(column.doc);
      meaning.className = "meaning";
      row.append(head, type, cell(column.unit ?? NONE), meaning, cell(column.source));
      return row;
    }));
    const region = grid(`Columns of ${this.#table.name}`, ["Column", "Type", "Unit", "Meaning", "Source"], body);
    region.classList.add("columns");
    return region;
  }

  #rows() {
    this.#sample.className = "sample";
    this.#button.type = "button";
    this.#button.className = "plain";
    const said = element("p");
    said.className = "note";
    said.setAttribute("role", "status");
    this.#button.addEventListener("click", () => this.#look(said));
    this.#sample.append(this.#button, said);
    return this.#sample;
  }

  async #look(said) {
    const asked = ++this.#asked;
    setText(said, "asking");
    try {
      const told = await ask(`${this.#table.href}?limit=${SAMPLE}`, this.#headers(), { cache: "no-cache" });
      if (asked !== this.#asked) return;
      this.#sample.querySelector(".scroll")?.remove();
      const { rows, as_of: asOf, next } = told;
      const which = next === null ? "All" : "The first";
      setText(said, rows.length === 0 ? `No rows at manifest ${count(asOf.manifest)}.`
        : `${which} ${count(rows.length)} at manifest ${count(asOf.manifest)}.`);
      if (rows.length > 0) this.#sample.append(this.#grid(told));
      setText(this.#button, "Show the newest");
    } catch (error) {
      if (asked === this.#asked) setText(said, `No answer now: ${error.message}`);
    }
  }

  #grid({ columns, rows }) {
    const types = new Map(this.#table.columns.map((column) => [column.name, column.type]));
    const body = element("tbody");
    body.append(...rows.map((values) => {
      const row = element("tr");
      row.append(...columns.map((name, n) => {
        const value = values[name];
        const node = element(n === 0 ? "th" : "td", shown(value));
        if (n === 0) node.scope = "row";
        node.classList.toggle("null", value === null);
        node.classList.toggle("number", NUMBERS.test(types.get(name)));
        return node;
      }));
      return row;
    }));
    const region = grid(`Rows of ${this.#table.name}`, columns, body);
    [...region.querySelectorAll("thead th")].forEach((head, n) => {
      head.classList.toggle("number", NUMBERS.test(types.get(columns[n])));
    });
    return region;
  }
}

const many = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;

function shown(value) {
  if (value === null) return "null";
  return Array.isArray(value) || typeof value === "object" ? JSON.stringify(value) : String(value);
}

// A table that scrolls by itself where it is wider than the page.
function grid(label, names, body) {
  const row = element("tr");
  row.append(...names.map((name) => {
    const head = element("th", name);
    head.scope = "col";
    return head;
  }));
  const head = element("thead");
  head.append(row);
  const table = element("table");
  table.append(head, body);
  const region = element("div");
  region.className = "scroll";
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", label);
  region.append(table);
  return region;
}

function span(kind, text) {
  const node = element("span", text);
  node.className = kind;
  return node;
}

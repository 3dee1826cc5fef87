// The panel of the dead letters: the newest, by topic and reason, and one letter's record as far as it can be decoded;
// personal data is masked by the service. Reads /v1/dead-letters when somebody looks, not by itself.

import { count, moment, NONE } from "./format.js";
import { Redrive } from "./redrive.js";
import { ask, cell, element } from "./rest.js";
import { setText } from "./rows.js";

const PAGE = 20; // letters at a time
const byId = (id) => document.getElementById(id);

export class LettersPanel {
  #dialog = byId("letters");
  #headers;
  #redrive;
  #summary = [];
  #next = null;
  #asked = 0; // only the answer to the newest question is shown

  // headers: () => what a request must carry
  constructor(headers) {
    this.#headers = headers;
    this.#redrive = new Redrive(headers, () => this.#filters(), () => this.#look());
    byId("letters-open").addEventListener("click", () => this.open());
    byId("letters-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // beside the panel
    });
    byId("letters-filter").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#look();
    });
    byId("letters-topic").addEventListener("change", () => {
      byId("letters-reason").value = "";
      this.#look();
    });
    byId("letters-reason").addEventListener("change", () => this.#look());
    byId("letters-more").addEventListener("click", () => this.#more());
  }

  open() {
    this.#dialog.showModal();
    this.#redrive.open();
    this.#look();
  }

  #filters() {
    const [topic, reason] = [byId("letters-topic").value, byId("letters-reason").value];
    return { ...(topic ? { topic } : {}), ...(reason ? { reason } : {}) };
  }

  async #look() {
    this.#redrive.forget();
    byId("letter").hidden = true;
    const asked = ++this.#asked;
    this.#say("asking");
    try {
      const [summary, letters] = await Promise.all([
        ask("/v1/dead-letters/summary", this.#headers()), ask(this.#url(), this.#headers()),
      ]);
      if (asked !== this.#asked) return;
      this.#summary = summary.summary;
      this.#offer();
      byId("letters-rows").replaceChildren();
      this.#add(letters);
    } catch (error) {
      if (asked === this.#asked) this.#fail(error);
    }
  }

  async #more() {
    const asked = ++this.#asked;
    byId("letters-more").disabled = true;
    try {
      const letters = await ask(this.#url(this.#next), this.#headers());
      if (asked !== this.#asked) return;
      const before = byId("letters-rows").children.length;
      this.#add(letters);
      byId("letters-rows").children[before]?.querySelector("button").focus();
    } catch (error) {
      if (asked === this.#asked) this.#fail(error);
    } finally {
      byId("letters-more").disabled = false;
    }
  }

  #url(cursor = null) {
    const query = new URLSearchParams({ ...this.#filters(), limit: PAGE, ...(cursor === null ? {} : { cursor }) });
    return `/v1/dead-letters?${query}`;
  }

  // The choices, from what there is.
  #offer() {
    const { topic } = this.#filters();
    const topics = [...new Set(this.#summary.map((row) => row.source_topic))];
    const reasons = new Map();
    for (const row of this.#summary) {
      if (topic && row.source_topic !== topic) continue;
      reasons.set(row.reason, (reasons.get(row.reason) ?? 0) + row.letters);
    }
    choose(byId("letters-topic"), "All topics", topics.map((name) => [name, name]));
    choose(byId("letters-reason"), "All reasons",
      [...reasons].map(([name, letters]) => [name, `${name} (${count(letters)})`]));
  }

  #add({ letters, next }) {
    byId("letters-rows").append(...letters.map((letter) => this.#row(letter)));
    this.#next = next;
    byId("letters-more").hidden = next === null;
    const shown = byId("letters-rows").children.length;
    this.#say(shown === 0 ? "There are no such dead letters."
      : `The newest ${count(shown)}${next === null ? ", and there are no more" : ""}.`);
  }

  #row(letter) {
    const button = element("button", letter.id);
    button.type = "button";
    button.addEventListener("click", () => this.#show(letter.id));
    const head = element("th");
    head.scope = "row";
    head.append(button);
    const row = element("tr");
    row.append(head, cell(letter.reasons.join(", ")), cell(moment(letter.kafka_time ?? letter.refused_at, "UTC")),
      cell(count(letter.size)));
    return row;
  }

  async #show(id) {
    const asked = ++this.#asked;
    try {
      const letter = await ask(`/v1/dead-letters/${id.split("/").map(encodeURIComponent).join("/")}`, this.#headers());
      if (asked === this.#asked) draw(letter);
    } catch (error) {
      if (asked === this.#asked) this.#fail(error);
    }
  }

  #say(text, state = "") {
    byId("letters-text").dataset.state = state;
    setText(byId("letters-text"), text);
  }

  #fail(error) {
    this.#say(`No answer now: ${error.message}`, "unknown");
  }
}

function choose(select, all, choices) {
  const { value } = select;
  // What is chosen stays to be chosen, also when the last such letter has gone.
  const known = value === "" || choices.some(([name]) => name === value) ? choices : [...choices, [value, value]];
  select.replaceChildren(new Option(all, ""), ...known.map(([name, text]) => new Option(text, name)));
  select.value = value;
}

function draw(letter) {
  setText(byId("letter-title"), letter.id);
  const { content, bytes } = letter;
  const schema = content?.schema;
  const facts = [
    ["Taken", letter.kafka_time === null ? NONE : `${moment(letter.kafka_time, "UTC")} UTC`],
    ["Refused", `${moment(letter.refused_at, "UTC")} UTC`],
    ["Size", `${count(letter.size)} bytes${letter.truncated ? `, of which ${count(bytes.kept)} are kept` : ""}`],
    ["Key", letter.key ?? NONE],
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
    row.append(head, cell(value === null ? "null" : String(value)));
    return row;
  }));
  byId("letter").hidden = false;
  byId("letter-title").focus();
}

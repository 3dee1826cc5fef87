// The panel of the dead letters: the newest, by topic, reason, time and place, and one letter's record as far as it can
// be decoded; personal data is masked by the service. Reads /v1/dead-letters when somebody looks, and again, without
// moving what is being read, when there are others than before.

import { calmly } from "./calm.js";
import { count, moment } from "./format.js";
import { drawLetter } from "./letter.js";
import { LetterFilter } from "./letter-filter.js";
import { Redrive } from "./redrive.js";
import { ask, cell, element } from "./rest.js";
import { setText } from "./rows.js";

const PAGE = 20; // letters at a time
const MOST = 1000; // that are asked for at once
const PAUSE_MS = 1000; // between two looks by itself
const byId = (id) => document.getElementById(id);

export class LettersPanel {
  #dialog = byId("letters");
  #headers;
  #filter = new LetterFilter(() => this.#look());
  #redrive;
  #summary = [];
  #next = null;
  #asked = 0; // only the answer to the newest question is shown
  #answered; // settles with the last question's answer
  #follow = calmly(() => this.#refresh(), PAUSE_MS);

  // headers: () => what a request must carry
  constructor(headers) {
    this.#headers = headers;
    this.#redrive = new Redrive(headers, () => this.#filter.values(), () => this.#look());
    byId("letters-open").addEventListener("click", () => this.open());
    byId("letters-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // beside the panel
    });
    byId("letters-more").addEventListener("click", () => this.#more());
  }

  // id: the letter to show, if any
  async open(id = null) {
    this.#dialog.showModal();
    this.#redrive.open();
    await this.#look();
    if (id !== null) await this.#show(id);
  }

  // There are others than before, so many (null: unknown, or there are older ones that are not counted).
  changed(letters) {
    setText(byId("letters-count"), letters === null ? "" : ` (${count(letters)})`);
    if (this.#dialog.open) this.#follow();
  }

  async #look() {
    this.#redrive.forget();
    byId("letter").hidden = true;
    const asked = ++this.#asked;
    this.#say("asking");
    // Who changes several things at once asks once: the service refuses too many questions at a time.
    await this.#answered;
    if (asked !== this.#asked) return;
    const answer = this.#newest(PAGE);
    this.#answered = answer.catch(() => null);
    try {
      const [summary, letters] = await answer;
      if (asked !== this.#asked) return;
      this.#summary = summary.summary;
      this.#offer();
      this.#list(letters);
    } catch (error) {
      if (asked === this.#asked) this.#fail(error);
    }
  }

  // The same letters once more, and what has come: no focus moves, and nothing that is in sight.
  async #refresh() {
    const asked = this.#asked;
    let limit = Math.max(PAGE, byId("letters-rows").children.length);
    try {
      for (;;) {
        const [summary, letters] = await this.#newest(Math.min(limit, MOST));
        // Somebody has asked for something else meanwhile.
        if (asked !== this.#asked) {
          this.#follow();
          return;
        }
        const focused = document.activeElement.closest("#letters-rows tr")?.dataset.letter;
        if (focused === undefined || limit >= MOST || letters.letters.some((letter) => letter.id === focused)) {
          this.#summary = summary.summary;
          this.#offer();
          this.#still(() => this.#list(letters));
          return;
        }
        limit *= 2;
      }
    } catch (error) {
      if (asked === this.#asked) this.#fail(error);
    }
  }

  #newest(limit) {
    return Promise.all([
      ask("/v1/dead-letters/summary", this.#headers()), ask(this.#url(null, limit), this.#headers()),
    ]);
  }

  // Rows that are there already stay the nodes that they are.
  #list(page) {
    const body = byId("letters-rows");
    const known = new Map([...body.children].map((row) => [row.dataset.letter, row]));
    const rows = page.letters.map((letter) => {
      const row = known.get(letter.id);
      const fresh = this.#row(letter);
      return row !== undefined && row.textContent === fresh.textContent ? row : fresh;
    });
    place(body, rows);
    this.#tell(page.next);
  }

  // What is in sight stays where it is on the screen while `change` puts rows above it.
  #still(change) {
    const top = this.#dialog.getBoundingClientRect().top;
    const held = this.#dialog.contains(document.activeElement) && document.activeElement.closest("tr, #letter, #redrive");
    const inSight = [...byId("letters-rows").children].find((row) => row.getBoundingClientRect().bottom > top);
    const anchor = this.#dialog.scrollTop === 0 ? null : held || (byId("letter").hidden ? inSight : byId("letter"));
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (anchor?.isConnected) this.#dialog.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  async #more() {
    const button = byId("letters-more");
    if (button.ariaDisabled === "true") return;
    const asked = ++this.#asked;
    const at = document.activeElement;
    button.ariaDisabled = "true"; // one that is disabled loses the focus
    try {
      const letters = await ask(this.#url(this.#next), this.#headers());
      if (asked !== this.#asked) return;
      const before = byId("letters-rows").children.length;
      this.#add(letters);
      if ([at, document.body].includes(document.activeElement)) byId("letters-rows").children[before]?.querySelector("button").focus();
    } catch (error) {
      if (asked === this.#asked) this.#fail(error);
    } finally {
      button.ariaDisabled = null;
    }
  }

  #url(cursor = null, limit = PAGE) {
    const query = new URLSearchParams({ ...this.#filter.values(), limit, ...(cursor === null ? {} : { cursor }) });
    return `/v1/dead-letters?${query}`;
  }

  // The choices, from what there is.
  #offer() {
    const { topic } = this.#filter.values();
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
    this.#tell(next);
  }

  #tell(next) {
    this.#next = next;
    byId("letters-more").hidden = next === null;
    const shown = byId("letters-rows").children.length;
    this.#say(shown === 0 ? "There are no such dead letters."
      : `The newest ${count(shown)}${next === null ? ", and there are no more" : ""}.`);
  }

  #row(letter) {
    const button = element("button", letter.id);
    button.type = "button";
    button.className = "link";
    button.addEventListener("click", () => this.#show(letter.id));
    const head = element("th");
    head.scope = "row";
    head.append(button);
    const row = element("tr");
    row.dataset.letter = letter.id;
    const why = [...letter.reasons, ...(letter.redriven ? ["put back"] : [])];
    row.append(head, cell(why.join(", ")), cell(moment(letter.kafka_time ?? letter.refused_at, "UTC")),
      cell(count(letter.size)));
    return row;
  }

  async #show(id) {
    const asked = ++this.#asked;
    try {
      const letter = await ask(`/v1/dead-letters/${id.split("/").map(encodeURIComponent).join("/")}`, this.#headers());
      if (asked === this.#asked) drawLetter(letter);
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

// `rows` as the children of `body`; those that are there already are not taken out, which would cost them the focus.
function place(body, rows) {
  const wanted = new Set(rows);
  for (const row of [...body.children]) if (!wanted.has(row)) row.remove();
  let before = body.firstElementChild;
  for (const row of rows) {
    if (row === before) before = row.nextElementSibling;
    else body.insertBefore(row, before);
  }
}

function choose(select, all, choices) {
  const { value } = select;
  // Nobody's choice is changed under their hands.
  if (select === document.activeElement && select.options.length > 1) return;
  // What is chosen stays to be chosen, also when the last such letter has gone.
  const known = value === "" || choices.some(([name]) => name === value) ? choices : [...choices, [value, value]];
  select.replaceChildren(new Option(all, ""), ...known.map(([name, text]) => new Option(text, name)));
  select.value = value;
}

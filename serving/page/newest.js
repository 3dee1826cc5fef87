// The records that were counted last, newest first. Rows stay the nodes that they are, so nothing flickers; the list
// stands still when it is told to, and while one of its records has the focus, which would move away otherwise.

import { clock, count, moment, money, words } from "./format.js";
import { element } from "./rest.js";
import { setText } from "./rows.js";

const byId = (id) => document.getElementById(id);

export class NewestEvents {
  #body = byId("newest-rows");
  #pause = byId("newest-pause");
  #rows = new Map();
  #open;
  #newest = null; // what came last, shown or not
  #shown = null;
  #paused = false;

  // open: called with the record that somebody wants to know more of
  constructor(open) {
    this.#open = open;
    this.#pause.addEventListener("click", () => {
      this.#paused = !this.#paused;
      this.#pause.setAttribute("aria-pressed", String(this.#paused));
      this.#draw();
    });
    // The focus has moved on only when this event is over.
    this.#body.addEventListener("focusout", () => setTimeout(() => this.#draw()));
    this.#body.addEventListener("focusin", () => this.#draw());
  }

  // events: as /v1/events/newest has them
  show(events, currency, zone) {
    this.#newest = { events, currency, zone };
    this.#draw();
  }

  #draw() {
    const still = this.#paused || this.#body.contains(document.activeElement);
    if (!still && this.#newest !== this.#shown) {
      this.#fill(this.#newest);
      this.#shown = this.#newest;
    }
    setText(byId("newest-note"), this.#note(still));
  }

  #note(still) {
    if (!still || this.#newest === null) return "";
    const behind = this.#newest.events.findIndex((e) => this.#shown?.events.some((s) => idOf(s) === idOf(e)));
    const newer = behind < 0 ? `${count(this.#newest.events.length)} or more` : count(behind);
    return newer === "0" ? "stands still" : `stands still, ${newer} newer`;
  }

  #fill({ events, currency, zone }) {
    const gone = new Set(this.#rows.keys());
    let before = this.#body.firstElementChild;
    for (const event of events) {
      const id = `${idOf(event)} ${event.verdict}`;
      gone.delete(id);
      let row = this.#rows.get(id);
      if (row === undefined) {
        row = this.#build(event, currency, zone);
        this.#rows.set(id, row);
      }
      if (row === before) before = row.nextElementSibling;
      else this.#body.insertBefore(row, before);
    }
    for (const id of gone) {
      this.#rows.get(id).remove();
      this.#rows.delete(id);
    }
  }

  // A counted record does not change any more, but another generation may have decided otherwise about it.
  #build(event, currency, zone) {
    const button = element("button", idOf(event));
    button.type = "button";
    button.className = "link";
    button.addEventListener("click", () => this.#open(event));
    const about = [
      event.op === "d" ? "deleted" : "", words(event.status ?? ""),
      event.amount === null ? "" : money(event.amount, currency), ...event.reasons,
    ];
    const aside = element("span", about.filter((text) => text !== "").join(", "));
    aside.className = "aside";
    const head = element("th");
    head.scope = "row";
    head.append(button, " ", aside);
    const taken = element("td", clock(event.kafka_time, zone));
    taken.title = `happened ${moment(event.occurred_at, zone)}, taken ${moment(event.kafka_time, zone)}`;
    const row = element("tr");
    row.dataset.verdict = event.verdict;
    row.append(head, element("td", event.verdict), taken);
    return row;
  }
}

const idOf = (event) => `${event.topic}/${event.partition}/${event.offset}`;

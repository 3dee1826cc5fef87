// The panel that shows the account: per topic, how many records came in and what became of them, and the offsets that
// the numbers are a function of. Reads /v1/exactness while it is open.

import { calmly } from "./calm.js";
import { count, duration, moment, since } from "./format.js";
import { ask } from "./rest.js";
import { Rows, setText } from "./rows.js";

const VERDICTS = ["changed", "repeat", "superseded", "refused", "empty"];
const PAUSE_MS = 1000; // between two looks while it is open
const PATIENCE_S = 5; // with one of them
const byId = (id) => document.getElementById(id);

export class ProofPanel {
  #dialog = byId("proof");
  #topics = new Rows(byId("proof-topics"));
  #total = new Rows(byId("proof-total"));
  #offsets = new Rows(byId("proof-offsets"));
  #headers;
  #look = calmly(() => this.#ask(), PAUSE_MS);
  #place = null; // the partition that somebody wants to see
  #unseen = false;

  // headers: () => what a request must carry
  constructor(headers) {
    this.#headers = headers;
    byId("exact").addEventListener("click", () => this.open());
    byId("proof-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // beside the panel
    });
  }

  // place: the partition to point at, as topic/partition
  open(place = null) {
    this.#place = place;
    this.#unseen = place !== null;
    this.#dialog.showModal();
    this.refresh();
  }

  // The numbers have moved.
  refresh() {
    if (this.#dialog.open) this.#look();
  }

  async #ask() {
    try {
      this.#show(await ask("/v1/exactness", this.#headers(), { seconds: PATIENCE_S }));
    } catch (error) {
      this.#say("unknown", `No account now: ${error.message}. What stands below is the last one.`);
    }
  }

  #say(state, text) {
    const node = byId("proof-text");
    node.dataset.state = state;
    setText(node, text);
  }

  #show(body) {
    const held = Object.entries(body.held);
    if (body.exact) {
      this.#say("exact", "Exact: every offset that was read has one verdict, and only one.");
    } else if (held.length > 0) {
      this.#say("held", `Held: ${held.length} of ${body.partitions.length} partitions wait for somebody to look.`);
    } else {
      this.#say("inexact", "The counts do not add up to the offsets.");
    }
    byId("proof-held").hidden = held.length === 0;
    byId("proof-held").replaceChildren(...held.map(([at, reason]) => {
      const item = document.createElement("li");
      item.textContent = `${at}: ${reason}`;
      return item;
    }));
    const verified = verifiedText(body.verified);
    byId("proof-verified").dataset.state = verified.state;
    setText(byId("proof-verified"), verified.text);
    const wrong = body.verified?.differences ?? [];
    byId("proof-differences").hidden = wrong.length === 0;
    byId("proof-differences").replaceChildren(...wrong.map((each) => {
      const item = document.createElement("li");
      item.textContent = `${each.table}: ${count(each.missing)} missing, ${count(each.unexpected)} unexpected`;
      return item;
    }));
    this.#topics.show(byTopic(body.partitions).map((t) => account(t.topic, t.offsets, t.counts)));
    this.#total.show([account("All", body.offsets, body.counts)]);
    this.#offsets.show(body.partitions.map((p) => ({
      key: `${p.topic}/${p.partition}`,
      cells: [`${p.topic}/${p.partition}`, count(p.base), count(p.next_offset), p.held ? "held" : p.exact ? "exact" : "differs"],
      state: !p.exact ? "wrong" : `${p.topic}/${p.partition}` === this.#place ? "meant" : "",
    })));
    const meant = byId("proof-offsets").querySelector("[data-state=meant]");
    if (this.#unseen && meant !== null) meant.scrollIntoView({ block: "center" });
    this.#unseen = false;
    const { generation, position, event_time: at, age_ms: age } = body.as_of;
    const newest = at === null ? "no event yet" : `newest event ${moment(at, "UTC")} UTC, ${since(age)}`;
    setText(byId("proof-as-of"), `Generation ${generation}, position ${count(position)} (the sum of the offsets), ${newest}.`);
  }

}

// What a second computation over the same records found last.
function verifiedText(found) {
  if (found === null) return { state: "unknown", text: "Not verified by a second computation yet." };
  const ago = `${duration(found.age_ms)} ago`;
  if (found.exact === null) return { state: "unknown", text: `A second computation had nothing to compare ${ago}: ${found.detail}` };
  const what = `${count(found.records)} records, ${found.live ? "lake and live numbers" : `the lake; live numbers not or not all compared: ${found.detail}`}`;
  return found.exact
    ? { state: "exact", text: `Computed a second time by other code, ${ago}: equal (${what}).` }
    : { state: "inexact", text: `Computed a second time by other code, ${ago}: differs (${what}).` };
}

function account(topic, offsets, counts) {
  const sum = VERDICTS.reduce((total, verdict) => total + counts[verdict], 0);
  const right = sum === offsets;
  return {
    key: topic,
    cells: [topic, count(offsets), ...VERDICTS.map((verdict) => count(counts[verdict])), right ? "yes" : `no: ${count(sum)}`],
    state: right ? "" : "wrong",
  };
}

function byTopic(partitions) {
  const found = new Map();
  for (const p of partitions) {
    const t = found.get(p.topic) ?? { topic: p.topic, offsets: 0, counts: Object.fromEntries(VERDICTS.map((v) => [v, 0])) };
    t.offsets += p.next_offset - p.base;
    for (const verdict of VERDICTS) t.counts[verdict] += p.counts[verdict];
    found.set(p.topic, t);
  }
  return [...found.values()];
}

// The line about the lake: its newest manifest and what waits for the next, from /v1/lake while the numbers are live.

import { count, duration } from "./format.js";
import { ask } from "./rest.js";
import { put } from "./rows.js";

const PAUSE_MS = 10_000; // between two looks
const AFTER_FAILURE_MS = 60_000; // there may be no lake at all

export class LakeLine {
  #headers;
  #due = 0;
  #turn = 0; // what was asked before somebody forgot says nothing

  // headers: () => what a request must carry
  constructor(headers) {
    this.#headers = headers;
  }

  // Nobody says any more how far it is.
  forget() {
    this.#due = 0;
    this.#turn += 1;
    put("lake", "not known");
  }

  // now: ms of a clock that only grows. Called once a second.
  async tick(now) {
    if (now < this.#due || document.hidden) return;
    this.#due = now + PAUSE_MS;
    const turn = this.#turn;
    let said = null;
    try {
      said = worded(await ask("/v1/lake?limit=1", this.#headers()));
    } catch {
      // There may be none.
    }
    if (turn !== this.#turn) return;
    if (said === null) this.#due = now + AFTER_FAILURE_MS;
    put("lake", said ?? "not known");
  }
}

function worded({ batch, records_behind: behind, freshness_ms: freshness, stale }) {
  const age = freshness === null ? "" : `, ${duration(freshness)} old`;
  const waiting = behind === 0 ? "nothing waits" : `${count(behind)} wait${age}`;
  return `manifest ${count(batch)}, ${waiting}${stale ? ", as far as is known" : ""}`;
}

// Puts dead letters back into their topics, for who may: first a dry run, then what it counted has to be confirmed.
// Asks /v1/key what may be done, and POST /v1/dead-letters/redrive.

import { count } from "./format.js";
import { ask } from "./rest.js";
import { setText } from "./rows.js";

const LEFT = {
  already_redriven: "put back before",
  line_of_a_file: "lines of files: import the file again",
  no_contract_for_its_topic: "of topics without a contract here",
  bytes_lost: "no longer kept whole",
  still_refused: "would be refused again",
};
const byId = (id) => document.getElementById(id);
const records = (n) => `${count(n)} ${n === 1 ? "record" : "records"}`;

export class Redrive {
  #headers;
  #filters;
  #done;
  #counted = null; // what the dry run asked that waits to be confirmed
  #busy = false;

  // filters: () => which letters are meant, as texts by name; done: called when records are back
  constructor(headers, filters, done) {
    this.#headers = headers;
    this.#filters = filters;
    this.#done = done;
    byId("redrive-count").addEventListener("click", () => this.#count());
    byId("redrive-all").addEventListener("change", () => this.forget());
    byId("redrive-yes").addEventListener("click", () => this.#putBack());
    byId("redrive-no").addEventListener("click", () => {
      this.forget();
      byId("redrive-count").focus();
    });
  }

  // Shown only to who may.
  async open() {
    byId("redrive").hidden = true;
    try {
      const { scopes } = await ask("/v1/key", this.#headers());
      byId("redrive").hidden = !scopes.includes("admin");
    } catch {
      // The list above says that the service does not answer.
    }
  }

  // Other letters are meant now: what was counted says nothing about them.
  forget() {
    if (this.#busy) return;
    this.#counted = null;
    byId("redrive-confirm").hidden = true;
    setText(byId("redrive-text"), "");
  }

  // The body of the question: which letters are meant, and whether those too that would be refused again.
  #asked() {
    const { partition, ...texts } = this.#filters();
    return {
      ...texts,
      ...(partition === undefined ? {} : { partition: Number(partition) }),
      ...(byId("redrive-all").checked ? { all: true } : {}),
    };
  }

  async #count() {
    if (this.#busy) return;
    this.forget();
    const at = document.activeElement;
    const filters = this.#asked();
    const plan = await this.#post({ ...filters, dry_run: true });
    if (plan === null) return;
    const meant = JSON.stringify(filters) === JSON.stringify(this.#asked());
    const left = Object.entries(plan.left).map(([why, n]) => `${count(n)} ${LEFT[why] ?? why}`);
    setText(byId("redrive-text"), `${records(plan.ready)} of ${count(plan.wanted)} would go back`
      + `${left.length > 0 ? `; ${left.join("; ")}` : ""}.`);
    if (plan.ready === 0 || !meant) return;
    this.#counted = { ...filters, counted: plan.ready };
    setText(byId("redrive-yes"), `Put ${records(plan.ready)} back`);
    byId("redrive-confirm").hidden = false;
    // Who has gone on to something else meanwhile stays there.
    if (document.activeElement === at) byId("redrive-yes").focus();
  }

  async #putBack() {
    const filters = this.#counted;
    if (filters === null) return;
    this.#counted = null;
    // Before what has it is hidden.
    byId("redrive-count").focus();
    byId("redrive-confirm").hidden = true;
    const plan = await this.#post({ ...filters, dry_run: false });
    if (plan === null) return;
    await this.#done();
    setText(byId("redrive-text"), `${records(plan.redriven)} ${plan.redriven === 1 ? "is" : "are"} back in the source topics.`);
  }

  async #post(body) {
    this.#busy = true;
    byId("redrive-count").ariaDisabled = "true"; // one that is disabled loses the focus
    setText(byId("redrive-text"), body.dry_run ? "counting" : "putting back");
    try {
      return await ask("/v1/dead-letters/redrive", this.#headers(), {
        seconds: 300, method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
      });
    } catch (error) {
      setText(byId("redrive-text"), `Not done: ${error.message}`);
      return null;
    } finally {
      this.#busy = false;
      byId("redrive-count").ariaDisabled = null;
    }
  }
}

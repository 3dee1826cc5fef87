// The push stream by fetch rather than EventSource, which cannot send a key. Connects again by itself and resumes by
// Last-Event-ID. Calls back with each message and with what happens to the connection.

import { authorization } from "./key.js";
import { refusal, wantsKey } from "./rest.js";

const LONGEST_RETRY_MS = 15_000;
// Who is told to come again so soon is sent to another process: nobody need hear of it, unless that fails.
const QUICK_RETRY_MS = 500;

export class LiveStream {
  #url;
  #on;
  #lastId = null;
  #retry = 1000;
  #failures = 0;
  #abort = null;
  #wake = null;

  // on: {trying(), connected(), heard(), message(event, data), disconnected(reason), needsKey(refused)}
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
  }

  async run() {
    for (;;) {
      let why = "";
      try {
        this.#on.trying();
        const answer = await this.#connect();
        if (!answer.ok) {
          const problem = refusal(answer.status, await answer.json().catch(() => null));
          if (wantsKey(problem)) {
            this.#on.needsKey("Authorization" in authorization());
            return;
          }
          throw new Error(answer.status === 403 ? problem.message : `it answers ${answer.status}`);
        }
        this.#failures = 0;
        this.#on.connected();
        await this.#read(answer.body);
        throw new Error("it closed the stream");
      } catch (error) {
        // Browsers hide the reason of an abort behind words of their own.
        const { aborted, reason } = this.#abort.signal;
        why = reasonOf(aborted ? reason : error);
      } finally {
        this.#abort.abort();
      }
      if (this.#failures > 0 || this.#retry > QUICK_RETRY_MS) this.#on.disconnected(why);
      const pause = Math.min(this.#retry * 2 ** this.#failures, LONGEST_RETRY_MS);
      this.#failures += 1;
      await this.#pause(pause * (0.75 + Math.random() / 2));
    }
  }

  // Give this connection up: it has been silent for too long.
  drop() {
    this.#abort?.abort(new Error("it has been silent for too long"));
  }

  // Try again now rather than later: the network is back, or somebody looks again.
  hurry() {
    this.#wake?.();
  }

  #pause(ms) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, ms);
    }).finally(() => { this.#wake = null; });
  }

  #connect() {
    const headers = { Accept: "text/event-stream", ...authorization() };
    if (this.#lastId !== null) headers["Last-Event-ID"] = this.#lastId;
    this.#abort = new AbortController();
    return fetch(this.#url, { headers, signal: this.#abort.signal, cache: "no-store" });
  }

  async #read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.#on.heard();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) this.#take(block);
    }
  }

  #take(block) {
    let event = "message";
    const data = [];
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon === 0) continue; // a heartbeat
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") event = value;
      else if (field === "data") data.push(value);
      else if (field === "id") this.#lastId = value;
      else if (field === "retry" && /^\d+$/.test(value)) this.#retry = Number(value);
    }
    if (data.length > 0) this.#on.message(event, JSON.parse(data.join("\n")));
  }
}

// Browsers word a failed connection each in their way ("Failed to fetch", "network error").
function reasonOf(error) {
  return error instanceof TypeError ? "it cannot be reached" : error.message;
}

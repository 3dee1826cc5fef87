// How far the numbers on the page can be believed. Pure: the time is handed in, in ms of a clock that only grows.

import { count, duration } from "./format.js";

const STALE_MS = 5_000; // records that wait longer than this are worth a word
export const SILENT_MS = 15_000; // a heartbeat comes every 10 s
const VERIFIED_MS = 3_600_000; // what was found longer ago is no word on the numbers of now
export const DEAD_MS = 25_000; // two heartbeats missed: the connection is given up and made again

// What is known:
//   connected  whether the stream stands       why       what ended it, or why it cannot be
//   state      what the service says of itself (live, rebuilding, unavailable), connecting, key needed
//   detail     its reason                      heardAt   when anything came last, a heartbeat too
//   snapshot   the newest numbers              shownAt   when they came
//   health     freshness, lag, exactness, as_of          healthAt  when they came
//   events     the records counted last
//   verified   what a second computation found last, of a generation                       verifiedAt  when that came
export function nothingKnown() {
  return {
    connected: false, why: "", state: "connecting", detail: "", heardAt: 0,
    snapshot: null, shownAt: 0, health: null, healthAt: 0, events: null,
    verified: null, verifiedAt: 0,
  };
}

// One word for the badge, and what to say about the numbers if they are not the newest: {state, word, notice}.
export function judge(view, now) {
  if (view.state === "key needed") return verdict("disconnected", "key needed", "The service asks for an API key.");
  if (!view.connected) {
    if (view.why === "") return verdict("connecting", "connecting");
    return verdict("disconnected", "disconnected", `No connection to the service (${view.why}). Trying again.`);
  }
  if (view.state === "connecting") return verdict("connecting", "connecting");
  if (view.state === "rebuilding") {
    return verdict("rebuilding", "rebuilding", `The service is rebuilding its numbers (503): ${view.detail}.`);
  }
  if (view.state !== "live") return verdict("unavailable", view.state, `The service cannot read: ${view.detail}.`);
  if (view.snapshot === null) return verdict("connecting", "connecting");
  if (now - view.heardAt > SILENT_MS) {
    return verdict("stale", "stale", `The service has been silent for ${duration(now - view.heardAt)}.`);
  }
  const { lag } = view.health;
  if (lag.records_behind > 0 && freshness(view, now) > STALE_MS) {
    const waiting = `${count(lag.records_behind)} ${lag.records_behind === 1 ? "record waits" : "records wait"}`;
    const age = freshness(view, now);
    return verdict("stale", "stale", `${waiting} to be counted; `
      + (age === Infinity ? "none is counted yet." : `the newest one counted is ${duration(age)} old.`));
  }
  if (lag.stale) {
    return verdict("stale", "stale", "The broker does not say how far its topics go, so records may wait.");
  }
  return verdict("live", "live");
}

function verdict(state, word, notice = "") {
  return { state, word, notice };
}

// ms since the broker took the newest counted record, while others wait; 0 while none does, Infinity if none is counted.
export function freshness(view, now) {
  const { lag, freshness: told } = view.health;
  if (lag.records_behind === 0) return 0;
  return told.freshness_ms === null ? Infinity : told.freshness_ms + (now - view.healthAt);
}

// The word of the second badge: whether the counts prove that nothing was lost or counted twice, and whether a second
// computation, if there was one of late, came to the same.
export function proof(view, trusted, now) {
  if (trusted.state === "rebuilding") return { state: "rebuilding", word: "rebuilding" };
  if (view.health === null || !["live", "stale"].includes(trusted.state)) return { state: "unknown", word: "not known" };
  if (Object.keys(view.health.exactness.held).length > 0) return { state: "held", word: "held" };
  if (!view.health.exactness.exact) return { state: "inexact", word: "counts differ" };
  const told = view.verified?.generation === view.health.as_of.generation ? view.verified.verified : null;
  if (told?.exact === false) return { state: "inexact", word: "verified: differs" };
  const isVerified = told?.exact === true && told.live && told.whole_at !== null && told.age_ms + (now - view.verifiedAt) < VERIFIED_MS;
  return { state: "exact", word: isVerified ? "exact, verified" : "exact" };
}

export function freshText(waiting, age) {
  if (waiting === 0) return "nothing waits";
  return age === Infinity ? "nothing is counted yet" : duration(age);
}

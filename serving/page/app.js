// The page: shows the newest snapshot, and says honestly how far it can be trusted.

import { count, duration, moment, since } from "./format.js";
import { authorization, key } from "./key.js";
import { LakeLine } from "./lake.js";
import { LettersPanel } from "./letters.js";
import { MinuteChart } from "./minutes.js";
import { NewestEvents } from "./newest.js";
import { drawNumbers, drawTopics } from "./numbers.js";
import { ProofPanel } from "./proof.js";
import { put, setText } from "./rows.js";
import { LiveStream } from "./stream.js";
import { DEAD_MS, freshness, freshText, judge, nothingKnown, proof } from "./trust.js";

const SHORTEST_PAUSE_MS = 100; // between two pictures: nobody reads faster, and a phone has better things to do

const byId = (id) => document.getElementById(id);
const now = () => performance.now();
const view = nothingKnown();
const chart = new MinuteChart();
const panel = new ProofPanel(authorization);
const letters = new LettersPanel(authorization);
const lake = new LakeLine(authorization);
const newest = new NewestEvents(({ topic, partition, offset, verdict }) => {
  if (verdict === "refused") letters.open(`${topic}/${partition}/${offset}`);
  else panel.open(`${topic}/${partition}`);
});
let stream = null;

// --- what is drawn

function drawTrust() {
  const trusted = judge(view, now());
  const badge = byId("state");
  badge.dataset.state = trusted.state;
  setText(badge, trusted.word); // announced only when it changes
  byId("numbers").dataset.trust = trusted.state;
  const since = view.snapshot === null ? "" : ` What is shown is ${duration(now() - view.shownAt)} old.`;
  byId("notice").hidden = trusted.notice === "";
  byId("notice").dataset.state = trusted.state;
  setText(byId("notice"), trusted.notice === "" ? "" : trusted.notice + since);
  setText(document.querySelector("title"), `${trusted.word} – DataFlow`);
  const exact = proof(view, trusted, now());
  byId("exact").dataset.state = exact.state;
  setText(byId("exact-word"), exact.word);
  put("age", view.snapshot === null ? "–" : `${duration(now() - view.shownAt)} ago`);
}

function drawHealth() {
  const { health } = view;
  if (health === null) return;
  if (view.snapshot !== null) drawTopics(view.snapshot, health.lag);
  const zone = view.snapshot?.time_zone ?? "UTC";
  const { lag, exactness, as_of: asOf } = health;
  const waited = now() - view.healthAt;
  const { changed, repeat, superseded, refused, empty } = exactness.counts;
  const held = Object.keys(exactness.held);
  put("freshness", freshText(lag.records_behind, freshness(view, now())));
  put("lag", `${count(lag.records_behind)} records${lag.stale ? ", as far as is known" : ""}`);
  put("waiting", count(lag.records_behind));
  put("event_time", asOf.event_time === null ? "none yet" : moment(asOf.event_time, zone));
  const age = asOf.age_ms === null ? null : asOf.age_ms + waited;
  put("event_age", age === null ? "–" : age < 0 ? since(age) : duration(age));
  put("as_of", `${asOf.generation}, position ${count(asOf.position)}`);
  put("exactness", held.length > 0
    ? `held: ${held.join(", ")}`
    : `${count(exactness.offsets)} = ${count(changed)} changed + ${count(repeat)} repeat + `
      + `${count(superseded)} superseded + ${count(refused)} refused + ${count(empty)} empty`);
}

let drawn = { at: -Infinity, snapshot: null, events: null };
let planned = false;

// At once, or as soon as the pause since the last picture is over.
function draw() {
  if (planned) return;
  planned = true;
  setTimeout(() => requestAnimationFrame(() => {
    planned = false;
    if (view.snapshot !== null && view.snapshot !== drawn.snapshot) {
      drawNumbers(view.snapshot);
      chart.show(view.snapshot);
      panel.refresh();
    }
    if (view.snapshot !== null && view.events !== null && view.events !== drawn.events) {
      newest.show(view.events, view.snapshot.currency, view.snapshot.time_zone);
    }
    drawHealth();
    drawTrust();
    drawn = { at: now(), snapshot: view.snapshot, events: view.snapshot === null ? null : view.events };
  }), Math.max(0, drawn.at + SHORTEST_PAUSE_MS - now()));
}

// --- what is heard

const heard = () => { view.heardAt = now(); };

function take(event, data) {
  const at = now();
  if (event === "snapshot") {
    Object.assign(view, { snapshot: data, shownAt: at, health: data, healthAt: at, state: "live", detail: "" });
  } else if (event === "state") {
    Object.assign(view, { state: data.state, detail: data.detail ?? "" });
    if (data.lag) Object.assign(view, { health: data, healthAt: at });
  } else if (event === "events") {
    view.events = data.events;
  } else if (event === "verified") {
    Object.assign(view, { verified: data, verifiedAt: at });
  } else if (event === "dead_letters") {
    letters.changed(data.more ? null : data.letters);
  }
  if (event === "state" || event === "verified") panel.refresh();
  draw();
}

function needKey(refused) {
  key.forget();
  Object.assign(view, { connected: false, state: "key needed" });
  draw();
  byId("key-form").hidden = false;
  byId("key-error").textContent = refused ? "This key was not accepted." : "";
  byId("key").focus();
}

// What stands there may no longer be so, also where no number has moved.
function turned() {
  panel.refresh();
  draw();
}

function start() {
  stream = new LiveStream("/v1/live", {
    message: take,
    heard,
    trying: heard,
    // Whether it is live is for the service to say.
    connected: () => {
      // After a quick change of hands nobody has heard of, what stands there stands until the next one says more.
      if (!view.connected) Object.assign(view, { connected: true, why: "", state: "connecting" });
      heard();
      turned();
    },
    disconnected: (why) => { Object.assign(view, { connected: false, why }); lake.forget(); turned(); },
    needsKey: needKey,
  });
  stream.run();
}

// An age grows without a message; a connection may die without one.
function tick() {
  if (now() - view.heardAt > DEAD_MS) stream.drop();
  drawHealth();
  drawTrust();
  // Then there is a generation, and a key if one is needed.
  if (view.connected && view.snapshot !== null) lake.tick(now());
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value);
  byId("key").value = "";
  byId("key-form").hidden = true;
  view.state = "connecting";
  start();
});
document.addEventListener("theme", () => chart.recolour());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.recolour());
window.addEventListener("online", () => stream.hurry());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  tick();
  stream.hurry();
});
setInterval(tick, 1000);
start();

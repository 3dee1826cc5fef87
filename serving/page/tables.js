// The data dictionary: every table and view by layer, from /v1/tables; rows of one from its own address when asked for.

import { count, duration, moment, NONE } from "./format.js";
import { authorization as headers, key } from "./key.js";
import { ask, wantsKey } from "./rest.js";
import { put, setText } from "./rows.js";
import { TableCard } from "./table-card.js";

const PAUSE_MS = 10_000; // between two looks
const LAYERS = [
  ["gold", "What is asked of the data: facts, dimensions, sums."],
  ["view", "What follows from gold, computed when it is read."],
  ["silver", "What the records mean: the latest version of each entity, each click once, and what was refused."],
  ["bronze", "Every record as it came, byte for byte."],
];

const byId = (id) => document.getElementById(id);
const cards = new Map();
let timer = null;
let looking = false;

function say(state, word, notice = "") {
  byId("state").dataset.state = state;
  byId("dictionary").dataset.trust = state; // what is not the newest looks it
  setText(byId("state"), word);
  byId("notice").hidden = notice === "";
  byId("notice").dataset.state = state;
  setText(byId("notice"), notice);
}

// --- what is drawn

function build(tables) {
  byId("layers").replaceChildren(...LAYERS.map(([layer, doc]) => {
    const section = document.createElement("section");
    section.className = "layer";
    const title = document.createElement("h2");
    title.id = `layer-${layer}`;
    title.textContent = layer === "view" ? "Views" : layer;
    section.setAttribute("aria-labelledby", title.id);
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = doc;
    section.append(title, note);
    for (const table of tables.filter((each) => each.layer === layer)) {
      const card = new TableCard(table, headers);
      cards.set(table.name, card);
      section.append(card.node);
    }
    return section;
  }));
  find();
  followAddress();
}

function draw({ tables, detail, as_of: asOf }) {
  if (cards.size === 0) build(tables);
  for (const table of tables) cards.get(table.name).show(table.facts, asOf?.manifest);
  put("manifest", asOf === null ? NONE : count(asOf.manifest));
  put("event_time", asOf === null ? NONE : moment(asOf.event_time, "UTC"));
  if (asOf === null) {
    put("waiting", NONE);
    put("freshness", NONE);
    say("unavailable", "no lake yet", detail);
  } else {
    say("live", `manifest ${count(asOf.manifest)}`);
  }
}

function drawProgress(lake) {
  put("waiting", `${count(lake.records_behind)}${lake.stale ? ", as far as is known" : ""}`);
  put("freshness", lake.records_behind === 0 ? "nothing waits"
    : lake.freshness_ms === null ? "nothing is in yet" : duration(lake.freshness_ms));
}

// --- what is asked

// The browser asks whether it is still the same, and where it is takes what it has.
const same = { cache: "no-cache" };

async function look() {
  if (looking) return;
  looking = true;
  clearTimeout(timer);
  try {
    const told = await ask("/v1/tables", headers(), same);
    draw(told);
    if (told.as_of !== null) drawProgress(await ask("/v1/lake?limit=1", headers()));
  } catch (error) {
    if (wantsKey(error)) {
      needKey(key.get() !== null);
      return;
    }
    say("disconnected", "no answer", `No answer now: ${error.message}. Trying again.`);
  } finally {
    looking = false;
  }
  timer = setTimeout(() => { if (!document.hidden) look(); }, PAUSE_MS);
}

function needKey(refused) {
  key.forget();
  say("disconnected", "key needed", "The service asks for an API key.");
  byId("key-form").hidden = false;
  byId("key-error").textContent = refused ? "This key was not accepted." : "";
  byId("key").focus();
}

// --- what is looked for

function find() {
  const text = byId("find-text").value.trim().toLowerCase();
  let shown = 0;
  for (const card of cards.values()) shown += card.match(text) ? 1 : 0;
  for (const section of byId("layers").children) {
    section.hidden = section.querySelector(".table:not([hidden])") === null;
  }
  setText(byId("found"), text === "" ? "" : `${count(shown)} of ${count(cards.size)}`);
}

// The table that the address names is opened.
function followAddress() {
  const card = cards.get(decodeURIComponent(location.hash.slice(1)));
  if (card === undefined) return;
  if (card.node.hidden) {
    byId("find-text").value = "";
    find();
  }
  card.open();
}

byId("find").addEventListener("submit", (event) => event.preventDefault());
byId("find-text").addEventListener("input", find);
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value);
  byId("key").value = "";
  byId("key-form").hidden = true;
  look();
});
window.addEventListener("hashchange", followAddress);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
setInterval(() => { for (const card of cards.values()) card.tick(); }, 1000);
look();

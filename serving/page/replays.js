// Replays: the generations as they go, and for who may: plan, run, difference, promote, roll back. Each act is one request
// to /v1/replays; what cannot be undone by the same button again is asked about first.

import { count, duration, moment, NONE } from "./format.js";
import { differenceParts, planParts } from "./replay-parts.js";
import { authorization as headers, key } from "./key.js";
import { ask, wantsKey } from "./rest.js";
import { Rows, setText } from "./rows.js";

const PAUSE_MS = 2_000; // between two looks
const NEAR = 5_000; // records that one which follows may be behind, between two batches of its lake
const PATIENCE_S = 660; // for an act: it may take as long as reading everything
const QUESTIONS = {
  run: () => "Run it, into a new generation?",
  promote: (name) => `Make ${name} the live generation? Every page and every answer is of it then; rolling back undoes it.`,
  cancel: (name) => `Give ${name} up, and remove everything that it has made?`,
  rollback: () => "Go back to the generation that was live before?",
};
const VERIFIED = { true: "exact", false: "NOT exact", null: "not yet" };

const byId = (id) => document.getElementById(id);
const rows = new Rows(byId("generations"));
let timer = null;
let looking = false;
let known = false; // whether the key's holder may act
let asked = null; // the act that waits to be confirmed
let planned = null; // what a run is of that is confirmed: the form as it was, and what the plan that was shown is known by
let shownLive = null; // the generation that the reader sees as live

function say(state, word, notice = "") {
  byId("state").dataset.state = state;
  byId("replays").dataset.trust = state;
  setText(byId("state"), word);
  byId("notice").hidden = notice === "";
  byId("notice").dataset.state = state;
  setText(byId("notice"), notice);
}

// --- what is drawn

function draw({ live, before, generations }) {
  shownLive = live;
  rows.show(generations.map((each) => {
    const { progress, verified } = each;
    return {
      key: each.generation,
      cells: [
        each.generation,
        each.state,
        progress === null ? NONE : `${numbers(progress)}, ${count(progress.lake_behind)} lake${pace(progress)}`,
        progress === null ? NONE : VERIFIED[verified === null ? null : verified.exact],
        [...(each.trial ? ["trial"] : []), ...each.changed].join(", ") || NONE,
      ],
      aside: each.generation === live ? "live" : each.generation === before ? "before" : "",
      share: progress === null || progress.records === 0 ? undefined
        : 1 - Math.max(progress.numbers_behind, progress.lake_behind) / progress.records,
      state: each.generation === live ? "live" : each.state,
    };
  }));
  choose(generations.filter((each) => each.generation !== live && each.state !== "gone").map((each) => each.generation));
  say("live", live === null ? "none is live" : `${live} is live`);
}

function numbers({ filled, numbers_behind: behind }) {
  return filled === null ? `${count(behind)} numbers` : `numbers are filled (${count(filled)} rows)`;
}

function pace({ numbers_behind: numbers, lake_behind: lake, records_per_s: rate, seconds_to_go: left }) {
  if (rate == null || Math.max(numbers, lake) < NEAR) return "";
  return `, ${count(Math.round(rate))}/s${left == null ? "" : `, about ${duration(left * 1_000)} to go`}`;
}

function choose(names) {
  const select = byId("chosen");
  if ([...select.options].map((option) => option.value).join() === names.join()) return;
  const kept = select.value;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(kept)) select.value = kept;
  for (const button of document.querySelectorAll("[data-act]")) {
    button.disabled = names.length === 0 && button.dataset.act !== "rollback";
  }
}

function tell(title, text, parts = []) {
  byId("told").hidden = false;
  setText(byId("told-title"), title);
  setText(byId("told-text"), text);
  byId("told-more").replaceChildren(...parts);
}

// --- what is asked

async function look() {
  if (looking) return;
  looking = true;
  clearTimeout(timer);
  if (!known) mayAct();
  try {
    draw(await ask("/v1/replays", headers()));
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

// Shown only to who may. Asked until it is answered; that the service does not answer is what the list says.
async function mayAct() {
  try {
    const { scopes } = await ask("/v1/key", headers());
    byId("acts").hidden = !scopes.includes("admin");
    known = true;
  } catch {
    known = false;
  }
}

const post = (path, body = {}) => ask(path, headers(), {
  seconds: PATIENCE_S, method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
});
const throttle = () => Number(byId("throttle").value);
const names = (id) => byId(id).value.split(",").map((name) => name.trim()).filter((name) => name !== "");
const days = () => byId("only-days").value.trim();
function planQuery() {
  const query = new URLSearchParams({ throttle: throttle() });
  for (const name of names("only-tables")) query.append("table", name);
  for (const name of names("only-metrics")) query.append("metric", name);
  for (const name of names("only-topics")) query.append("topic", name);
  for (const place of names("from")) query.append("from", place);
  if (days() !== "") query.append("days", days());
  return query;
}
const runBody = () => ({
  throttle: throttle(), tables: names("only-tables"), metrics: names("only-metrics"), days: days() || null,
  topics: names("only-topics"), from: names("from"),
});
const ACTS = {
  run: () => post("/v1/replays", planned)
    .then(({ plan }) => tell(`Generation g${plan.number} has begun`, "It goes on by itself; the list tells how far it is.", planParts(plan))),
  plan: (_, body = runBody()) => ask(`/v1/replays/plan?${planQuery()}`, headers(), { seconds: PATIENCE_S })
    .then((plan) => {
      planned = { ...body, planned: plan.planned };
      tell(`What a replay into g${plan.number} would do`, "Nothing has changed.", planParts(plan));
    }),
  diff: (name) => ask(`/v1/replays/${name}/diff`, headers(), { seconds: PATIENCE_S })
    .then((found) => tell(`How ${found.other.generation} differs from ${found.one.generation}`,
      found.equal ? "It does not: every row of every table and metric is equal." : `At ${count(found.records)} records, made ${moment(found.made_at, "UTC")}.`,
      differenceParts(found))),
  promote: (name) => post(`/v1/replays/${name}/promote`).then(({ live }) => tell(`${live} is live`, "Rolling back goes back.")),
  pause: (name) => post(`/v1/replays/${name}/pause`).then(() => tell(`${name} pauses`, "It keeps what it has.")),
  resume: (name) => post(`/v1/replays/${name}/resume`).then(() => tell(`${name} goes on`, "From where it was.")),
  cancel: (name) => post(`/v1/replays/${name}/cancel`).then(() => tell(`${name} is given up`, "What it had made is removed.")),
  rollback: () => post("/v1/replays/rollback", { leaving: shownLive }).then(({ live }) => tell(`${live} is live again`, "Promoting leads forth again.")),
};

async function act(what) {
  forget();
  const name = byId("chosen").value;
  tell("Working", "");
  // What had the focus is hidden or waits until this is done.
  byId("told-title").focus();
  for (const button of byId("acts").querySelectorAll("button")) button.disabled = true;
  try {
    await ACTS[what](name);
  } catch (error) {
    tell("Not done", error.message);
  } finally {
    for (const button of byId("acts").querySelectorAll("button")) button.disabled = false;
  }
  look();
}

function forget() {
  asked = null;
  byId("confirm").hidden = true;
}

function question(what) {
  if (!(what in QUESTIONS)) {
    act(what);
    return;
  }
  asked = what;
  setText(byId("confirm-text"), QUESTIONS[what](byId("chosen").value));
  byId("confirm").hidden = false;
  // Whoever has gone on to something else meanwhile does not say yes by it.
  if (document.activeElement?.matches("body, button, #told-title")) byId("confirm-yes").focus();
}

byId("run-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  // What is asked about is the plan that stands there, and that is what runs.
  planned = null;
  await act("plan");
  if (planned !== null) question("run");
});
byId("run-form").addEventListener("input", forget);
byId("act-form").addEventListener("submit", (event) => event.preventDefault());
byId("plan").addEventListener("click", () => { if (byId("run-form").reportValidity()) act("plan"); });
for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", () => question(button.dataset.act));
}
byId("confirm-yes").addEventListener("click", () => act(asked));
byId("confirm-no").addEventListener("click", () => {
  const button = document.querySelector(`[data-act="${asked}"]`) ?? byId("run");
  forget();
  (button.disabled ? byId("chosen") : button).focus();
});
byId("chosen").addEventListener("change", forget);
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value);
  byId("key").value = "";
  byId("key-form").hidden = true;
  known = false;
  look();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();

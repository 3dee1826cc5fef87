// Which dead letters are meant: the form's topic, reason, time and place, as the parameters of /v1/dead-letters.

const byId = (id) => document.getElementById(id);
const NAMES = ["topic", "reason", "since", "until", "partition", "offsets"];
const TIMES = ["since", "until"];
const input = (name) => byId(`letters-${name}`);

export class LetterFilter {
  #form = byId("letters-filter");
  #meant = {};

  // changed: called when others are meant
  constructor(changed) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      changed();
    });
    for (const name of NAMES) {
      input(name).addEventListener("change", () => {
        if (name === "topic") input("reason").value = "";
        this.#open();
        this.#judge();
        // What is folded up could not be pointed at.
        if (!this.#form.checkValidity()) this.#form.querySelector("details").open = true;
        if (this.#form.reportValidity()) changed();
      });
    }
    this.#open();
  }

  // Name → text, without what is empty; while something in the form cannot be meant, what was meant before.
  values() {
    if (this.#form.checkValidity()) {
      const given = NAMES.filter((name) => !input(name).disabled && input(name).value !== "");
      this.#meant = Object.fromEntries(given.map((name) => [name, text(name)]));
    }
    return this.#meant;
  }

  // Partitions are a topic's, and offsets a partition's.
  #open() {
    input("partition").disabled = input("topic").value === "";
    input("offsets").disabled = input("partition").disabled || input("partition").value === "";
  }

  // What each input by itself cannot tell.
  #judge() {
    const [since, until] = TIMES.map((name) => input(name).value);
    input("until").setCustomValidity(since !== "" && until !== "" && until <= since ? "A time behind the first one" : "");
    const [first, last = first] = input("offsets").value.split("-");
    const backwards = /^\d+$/.test(first) && /^\d+$/.test(last) && BigInt(last) < BigInt(first);
    input("offsets").setCustomValidity(backwards ? "The first offset, then the last" : "");
  }
}

// What is written in the form is UTC, as what the list shows.
function text(name) {
  const { value } = input(name);
  if (!TIMES.includes(name)) return value;
  return `${value}${/T\d\d:\d\d$/.test(value) ? ":00" : ""}Z`;
}

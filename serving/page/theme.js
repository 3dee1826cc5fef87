// Light, dark, or as the system says. Loaded before anything is painted, so that the page never flashes in the other
// one. What the reader chose is remembered; nothing is where storage is not to be had.
"use strict";

(() => {
  const KEY = "dataflow-theme";
  const CHOICES = ["auto", "light", "dark"];
  const SAID = { auto: "as the system", light: "light", dark: "dark" };

  function remembered() {
    try {
      const found = localStorage.getItem(KEY);
      return CHOICES.includes(found) ? found : "auto";
    } catch {
      return "auto"; // storage is refused
    }
  }

  function remember(choice) {
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // it holds for this visit
    }
  }

  const root = document.documentElement;
  root.dataset.theme = remembered();

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => button.setAttribute("aria-label", `Colours: ${SAID[root.dataset.theme]}. Change`);
    button.addEventListener("click", () => {
      root.dataset.theme = CHOICES[(CHOICES.indexOf(root.dataset.theme) + 1) % CHOICES.length];
      remember(root.dataset.theme);
      label();
      document.dispatchEvent(new Event("theme"));
    });
    label();
  });
})();

// Light or dark as the system is, unless told otherwise here. `early.js` puts it in force before the first paint.

import { createStore } from "./store.js";

const NAME = "farthing.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** "light" or "dark", as it is shown now. */
export const theme = createStore(shown());

system.addEventListener("change", () => theme.set(shown()));

/** The other one. */
export function switchTheme() {
  const next = theme.get() === "dark" ? "light" : "dark";
  localStorage.setItem(NAME, next);
  document.documentElement.dataset.theme = next;
  theme.set(next);
}

function shown() {
  return document.documentElement.dataset.theme || (system.matches ? "dark" : "light");
}

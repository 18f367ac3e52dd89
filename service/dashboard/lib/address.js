// What the page shows is said by its address, so that a link, a reload and the back button bring it back.

import { createStore } from "./store.js";

/** {parameter: value} of the address, each once. */
export const address = createStore(read());

window.addEventListener("popstate", () => address.set(read()));

/** The address of exactly these parameters; those that are null or empty are left out. */
export function hrefOf(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "./";
}

/** The address as it is but for these changes; null takes a parameter away. */
export function hrefWith(changes) {
  return hrefOf({ ...address.get(), ...changes });
}

/** Go there without loading the page again. replace: the back button leads past where we were. */
export function go(href, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", href);
  address.set(read());
}

function read() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

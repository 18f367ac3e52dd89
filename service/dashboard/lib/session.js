// The key of whoever looks at the page. It is kept by this tab alone, until it is closed.

import { createStore } from "./store.js";

const NAME = "farthing.key";

/** {key: what is shown with every request, or ""; refusal: why it was turned away, or ""}. */
export const session = createStore({ key: sessionStorage.getItem(NAME) ?? "", refusal: "" });

export function signIn(key) {
  sessionStorage.setItem(NAME, key);
  session.set({ key, refusal: "" });
}

export function signOut() {
  sessionStorage.removeItem(NAME);
  session.set({ key: "", refusal: "You signed out." });
}

/** The service did not take the key that a request was sent with. Another one may be in use by now. */
export function refused(key, detail) {
  if (key !== session.get().key) return;
  // Which headers a program would send is no help to who sits before a page.
  session.set({ key, refusal: key ? detail : "What this page shows takes a key." });
}

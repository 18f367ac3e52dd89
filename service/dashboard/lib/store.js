import { useEffect, useState } from "./preact.js";

/** A value that many parts of the page watch. */
export function createStore(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const listener of [...listeners]) listener();
    },
    /** Calls back after each change; returns how to stop that. */
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The store's value; the component is drawn again whenever it changes. */
export function useStore(store) {
  const [, redraw] = useState(store.get());
  useEffect(() => {
    const changed = () => redraw(store.get());
    changed(); // It may have, between the first drawing and now.
    return store.subscribe(changed);
  }, [store]);
  return store.get();
}

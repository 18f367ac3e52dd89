import { ask } from "./api.js";
import { useEffect, useState } from "./preact.js";
import { session } from "./session.js";
import { useStore } from "./store.js";

const NOTHING_YET = { report: null, problem: null, at_ms: 0 };

/**
 * What a path answers, asked again every so often while somebody can see the page.
 *
 * pathAt: (now_ms) => path, for windows that move on; null: ask nothing. name: says when it is another question.
 * Returns {report, problem, at_ms}. The last answer stays where a later request failed; at_ms: when it came.
 */
export function useReport(pathAt, name, { everyMs = 15_000 } = {}) {
  const { key } = useStore(session);
  const [state, setState] = useState(NOTHING_YET);
  useEffect(() => {
    setState(NOTHING_YET);
    return repeated(pathAt, everyMs, setState);
  }, [name, key, everyMs]);
  return state;
}

/** Asks until told to stop by the function that it returns. */
function repeated(pathAt, everyMs, setState) {
  const stopping = new AbortController();
  let dueAt_ms = 0;
  let timer = 0;

  async function once() {
    dueAt_ms = Date.now() + everyMs;
    const path = pathAt(Date.now());
    if (path === null) return;
    try {
      const report = await ask(path, { signal: stopping.signal });
      setState({ report, problem: null, at_ms: Date.now() });
    } catch (problem) {
      if (stopping.signal.aborted) return;
      setState((last) => ({ ...last, problem }));
    }
    if (!stopping.signal.aborted) schedule();
  }

  function schedule() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(once, Math.max(0, dueAt_ms - Date.now()));
  }

  document.addEventListener("visibilitychange", schedule, { signal: stopping.signal });
  once();
  return () => {
    stopping.abort();
    clearTimeout(timer);
  };
}

import { request } from "./api.js";

const AGAIN_MS = 2000;

/**
 * Follows server-sent events while somebody can see the page, for as long as it takes: after a break it asks again.
 *
 * EventSource cannot show a key, so they are read by hand. on: {event(name, data), state(problem or null)}, the latter
 * whenever the line is up (null) or down. Returns how to stop.
 */
export function follow(path, on) {
  let line = null;
  let timer = 0;
  let isStopped = false;

  async function connect() {
    const own = (line = new AbortController());
    try {
      const response = await request(path, { headers: { accept: "text/event-stream" }, signal: own.signal });
      on.state(null);
      await read(response, on.event);
    } catch (problem) {
      if (own.signal.aborted) return;
      on.state(problem);
      if (problem.status >= 400 && problem.status < 500) return; // With this key it will not be another answer.
    }
    if (line === own) line = null;
    schedule();
  }

  function schedule() {
    clearTimeout(timer);
    if (document.hidden) {
      // Whoever does not look leaves the place to others; what is missed comes first again.
      line?.abort();
      line = null;
    } else if (!line && !isStopped) {
      timer = setTimeout(connect, AGAIN_MS);
    }
  }

  function shown() {
    if (document.hidden || line) schedule();
    else connect();
  }

  document.addEventListener("visibilitychange", shown);
  shown();
  return () => {
    isStopped = true;
    document.removeEventListener("visibilitychange", shown);
    clearTimeout(timer);
    line?.abort();
  };
}

/** Calls back for each event until there are no more. */
async function read(response, onEvent) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      if (fields.data) onEvent(fields.event, JSON.parse(fields.data));
    }
  }
}

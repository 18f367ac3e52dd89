// Live calls: what is kept of them, which are shown, and how they went. Pure.

/** More rows than this nobody reads; the ledger has the others. */
export const MOST_CALLS = 200;
const STATES = ["waiting", "running", "output", "ended"];

/** {id: call} with these calls in it, the newest only. What says less of a call than is known changes nothing. */
export function withCalls(known, told) {
  const calls = new Map(known);
  for (const call of told) {
    const before = calls.get(call.id);
    if (!before || rank(call) >= rank(before)) calls.set(call.id, call);
  }
  if (calls.size <= MOST_CALLS) return calls;
  return new Map(newestFirst(calls).slice(0, MOST_CALLS).map((call) => [call.id, call]));
}

export function newestFirst(calls) {
  return [...calls.values()].sort((one, other) => Date.parse(other.created_at) - Date.parse(one.created_at) || (one.id < other.id ? 1 : -1));
}

/** Whether a call is one of those asked for: kind `all`, `open`, `failed` or `cached`, and a text that some fact has. */
export function isWanted(call, { kind, text }) {
  const verdict = verdictOf(call);
  if (kind === "open" && call.state === "ended") return false;
  if (kind === "failed" && verdict.tone !== "bad") return false;
  if (kind === "cached" && !["hit", "coalesced"].includes(call.cache)) return false;
  const facts = [call.id, call.route, call.deployment, call.key, call.key_name, call.user, call.team, call.workflow, verdict.word];
  return !text || facts.some((fact) => fact.toLowerCase().includes(text.toLowerCase()));
}

/** How a call stands, in words, and whether that is `good`, `bad`, `busy` or neither. Of live calls and of stories. */
export function verdictOf(call) {
  if (call.state && call.state !== "ended") {
    return { tone: "busy", word: { waiting: "waiting", running: "running", output: "answering" }[call.state] };
  }
  if (!call.outcome && !call.error_code) return { tone: "busy", word: "running" };
  if (call.outcome === "ok") return { tone: "good", word: { hit: "from the cache", coalesced: "shared" }[call.cache] ?? "ok" };
  if (call.outcome === "replayed") return { tone: "", word: "replayed" };
  if (call.outcome === "refused") return { tone: "bad", word: `refused: ${said(call.error_code)}` };
  if (call.error_code === "caller_gone" || (call.outcome === "aborted" && !call.error_code)) return { tone: "", word: "caller left" };
  return { tone: "bad", word: said(call.error_code || call.outcome) };
}

/** A code as words. */
export function said(code) {
  return code.replaceAll("_", " ");
}

function rank(call) {
  return STATES.indexOf(call.state) * 1000 + (call.state === "ended" && call.cost_nanousd !== null ? 500 : 0) + call.attempts;
}

// Deployments as the router sees them: how each stands, and what was learned of it. Pure.

import { said } from "./calls.js";

/** [name in hints, what people call it]. */
export const ENDPOINTS = [
  ["v1/chat/completions", "Chat"],
  ["v1/responses", "Responses"],
  ["v1/embeddings", "Embeddings"],
];

/** {tone, word, note}: whether calls go there now, and why not. */
export function standingOf({ breaker, paced_until_ms, hints }, now_ms) {
  const { block } = hints;
  if (block !== null) {
    const cause = block.cause === "operator" ? "by hand" : said(block.cause);
    if (block.is_probing) return { tone: "warn", word: "probing", note: `blocked: ${cause}` };
    return { tone: "bad", word: "blocked", note: block.reason ? `${cause}: ${block.reason}` : cause };
  }
  if (breaker.state === "open") return { tone: "bad", word: "breaker open", note: `${breaker.consecutive_failures} faults in a row` };
  if (breaker.state === "half_open") return { tone: "warn", word: "half-open", note: "one call probes" };
  if (paced_until_ms !== null && paced_until_ms > now_ms) return { tone: "warn", word: "paced", note: `for ${Math.ceil((paced_until_ms - now_ms) / 1000)} s, as its provider asked` };
  return { tone: "good", word: "available", note: "" };
}

/** How an endpoint stands: `asked` (a person or a lesson sends calls there), `yes`, `no`, or "" where nobody knows. */
export function supportOf({ endpoints, preferred_endpoint }, endpoint) {
  if (preferred_endpoint === endpoint) return "asked";
  return endpoint in endpoints ? (endpoints[endpoint] ? "yes" : "no") : "";
}

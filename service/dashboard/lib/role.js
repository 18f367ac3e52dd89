import { useReport } from "./report.js";

/** Why the key at hand may not do what admins do: null while that is unknown, "" if it may. */
export function useWhyNot() {
  const { report, problem } = useReport(() => "router/hints?provider=none", "whether admin", { everyMs: 300_000 });
  if (report !== null) return "";
  return problem === null ? null : problem.detail;
}

import { useReport } from "./report.js";

const NOBODY = { model: "no model", provider: "no provider", user: "no user", key: "no key", team: "no team", workflow: "no workflow", run: "no run" };

/**
 * (dimension, value) => what people call it. null: all others together.
 *
 * Keys go by their ids in reports. Only admins may see their names; needsKeys: whether there is one to be named.
 */
export function useNames(needsKeys) {
  const { report } = useReport(() => (needsKeys ? "keys" : null), `names ${needsKeys}`, { everyMs: 300_000 });
  const names = new Map(report?.keys.map((key) => [key.id, `${key.name} (${key.id})`]));
  return (dimension, value) => {
    if (value === null) return "All others";
    if (value === "") return NOBODY[dimension] ?? "none";
    return (dimension === "key" && names.get(value)) || value;
  };
}

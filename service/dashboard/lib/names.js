import { useReport } from "./report.js";

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
    if (value === "") return `no ${dimension}`;
    return (dimension === "key" && names.get(value)) || value;
  };
}

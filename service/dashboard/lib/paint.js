// The colours of the style sheet as a canvas needs them. They change with the theme.

import { MOST_GROUPS } from "./series.js";

/** {card, ink, muted, line, bad, font, series: [one for each group], others}. */
export function paint() {
  const probe = document.body.appendChild(document.createElement("span"));
  const read = (token) => {
    probe.style.color = `var(--${token})`;
    return getComputedStyle(probe).color;
  };
  const colours = {
    card: read("card"),
    ink: read("ink"),
    muted: read("muted"),
    line: read("line"),
    bad: read("bad"),
    series: Array.from({ length: MOST_GROUPS }, (_, place) => read(`series-${place}`)),
    others: read("series-others"),
    font: `12px ${getComputedStyle(probe).fontFamily}`,
  };
  probe.remove();
  return colours;
}

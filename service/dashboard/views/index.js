// The views, in the order of the navigation. To add one: a component in a file of its own, and a line here.

import { Latency } from "./latency.js";
import { Spend } from "./spend.js";

/** name: in the address, as `?view=`; isHidden: only links from other views lead there. */
export const VIEWS = [
  { name: "spend", title: "Spend", View: Spend },
  { name: "latency", title: "Latency", View: Latency },
];

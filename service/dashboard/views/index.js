// The views, in the order of the navigation. To add one: a component in a file of its own, and a line here.

import { Alerts } from "./alerts.js";
import { Call } from "./call.js";
import { Deployments } from "./deployments.js";
import { Keys } from "./keys.js";
import { Latency } from "./latency.js";
import { Live } from "./live.js";
import { Spend } from "./spend.js";

/** name: in the address, as `?view=`; isHidden: only links from other views lead there. */
export const VIEWS = [
  { name: "spend", title: "Spend", View: Spend },
  { name: "latency", title: "Latency", View: Latency },
  { name: "live", title: "Live", View: Live },
  { name: "deployments", title: "Deployments", View: Deployments },
  { name: "alerts", title: "Alerts", View: Alerts },
  { name: "keys", title: "Keys", View: Keys },
  { name: "call", title: "Call", View: Call, isHidden: true },
];

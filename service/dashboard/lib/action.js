import { useState } from "./preact.js";

/** {run, isBusy, problem} of something that a person starts by hand: once at a time; problem: why the last one failed. */
export function useAction(act) {
  const [state, setState] = useState({ isBusy: false, problem: null });
  async function run(...given) {
    if (state.isBusy) return;
    setState({ isBusy: true, problem: null });
    try {
      await act(...given);
      setState({ isBusy: false, problem: null });
    } catch (problem) {
      setState({ isBusy: false, problem });
    }
  }
  return { run, ...state };
}

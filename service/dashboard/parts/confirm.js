import { useAction } from "../lib/action.js";
import { html, useEffect, useRef } from "../lib/preact.js";

/**
 * Asks before something is done. act: does it; what it throws is shown, and it may be tried again.
 *
 * title: the question; action: what the button that does it says. onClose: called once it is answered either way.
 */
export function Confirm({ title, action, act, onClose, children }) {
  const dialog = useRef(null);
  const doing = useAction(async () => {
    await act();
    dialog.current?.close();
  });
  useEffect(() => dialog.current.showModal(), []);
  return html`<dialog ref=${dialog} aria-labelledby="confirm-title" onClose=${onClose}>
    <h2 id="confirm-title">${title}</h2>
    ${children}
    ${doing.problem !== null && html`<p class="stale" role="alert">${doing.problem.detail}</p>`}
    <div class="actions">
      <button class="button" type="button" onClick=${() => dialog.current.close()}>Cancel</button>
      <button class="button danger" type="button" disabled=${doing.isBusy} onClick=${doing.run}>${action}</button>
    </div>
  </dialog>`;
}

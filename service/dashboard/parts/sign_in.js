import { html, useEffect, useRef } from "../lib/preact.js";
import { signIn } from "../lib/session.js";

/** Asks for a key. refusal: why the last one, or none at all, was not enough. */
export function SignIn({ refusal }) {
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  function submitted(event) {
    event.preventDefault();
    const key = field.current.value.trim();
    if (key) signIn(key);
  }
  return html`<section class="panel sign-in" aria-labelledby="sign-in">
    <h1 id="sign-in">Sign in</h1>
    <p class="note" role="status">${refusal}</p>
    <form onSubmit=${submitted}>
      <label for="key">Key</label>
      <input id="key" ref=${field} type="password" autocomplete="off" spellcheck=${false} placeholder="fk_…"
        required />
      <p class="note">
        A key of the role reader or admin: <code>farthing keys create --name dashboard --role reader</code>.
        This tab alone keeps it, until it is closed.
      </p>
      <button class="button main" type="submit">Sign in</button>
    </form>
  </section>`;
}

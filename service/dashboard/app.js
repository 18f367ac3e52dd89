// The frame: who is looking, which view the address names, and how to get to the others.

import { address, hrefOf } from "./lib/address.js";
import { html, render, useEffect, useRef } from "./lib/preact.js";
import { session, signOut } from "./lib/session.js";
import { useStore } from "./lib/store.js";
import { switchTheme, theme } from "./lib/theme.js";
import { Link } from "./parts/link.js";
import { SignIn } from "./parts/sign_in.js";
import { VIEWS } from "./views/index.js";

function App() {
  const { view: name } = useStore(address);
  const { refusal } = useStore(session);
  const view = VIEWS.find((candidate) => candidate.name === name) ?? VIEWS[0];
  const main = useMoved(view.name);
  useEffect(() => {
    document.title = refusal ? "Sign in · Farthing" : `${view.title} · Farthing`;
  }, [view, refusal]);
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <div class="shell">
      <${Bar} current=${view.name} />
      <main id="main" tabindex="-1" ref=${main}>
        ${refusal ? html`<${SignIn} refusal=${refusal} />` : html`<${view.View} key=${view.name} />`}
      </main>
    </div>
  `;
}

function Bar({ current }) {
  const { since } = useStore(address);
  const { key, refusal } = useStore(session);
  return html`<header class="bar">
    <${Link} class="brand" href="./"><img src="dashboard/coin.svg" alt="" />Farthing<//>
    <nav aria-label="Views">
      <ul>
        ${VIEWS.filter((view) => !view.isHidden).map(({ name, title }) => {
          const place = name === current ? "page" : undefined;
          const href = hrefOf({ view: name, since });
          return html`<li key=${name}><${Link} href=${href} aria-current=${place}>${title}<//></li>`;
        })}
      </ul>
    </nav>
    <div class="tools">
      <${ThemeButton} />
      ${key && !refusal && html`<button class="button quiet" type="button" onClick=${signOut}>Sign out</button>`}
    </div>
  </header>`;
}

function ThemeButton() {
  const other = useStore(theme) === "dark" ? "Light" : "Dark";
  return html`<button class="button quiet" type="button" onClick=${switchTheme}>${other} theme</button>`;
}

/** A ref for what takes the focus when another view is gone to, as a new page would; the first one does not. */
function useMoved(name) {
  const element = useRef(null);
  const last = useRef(name);
  useEffect(() => {
    if (last.current !== name) element.current?.focus();
    last.current = name;
  }, [name]);
  return element;
}

const frame = document.getElementById("app");
frame.replaceChildren();
render(html`<${App} />`, frame);

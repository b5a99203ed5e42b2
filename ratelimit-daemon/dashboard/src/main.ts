// The frame of the dashboard: who may see it, which page is shown, and the stream of seconds.

import { Refused, get, send, type Overview } from "./api";
import { fill, h, say } from "./dom";
import { endpoints } from "./pages/endpoints";
import { history } from "./pages/history";
import { kernel } from "./pages/kernel";
import { key } from "./pages/key";
import { keys } from "./pages/keys";
import { overview } from "./pages/overview";

/** A page while it is shown. */
export interface Page {
  element: HTMLElement;
  /** Takes up a second. */
  tick?(now: Overview): void;
  /** Takes the colours anew. */
  recolor?(): void;
  close?(): void;
}

const PAGES: [string, string, (rest: string) => Page][] = [
  ["", "Overview", overview],
  ["keys", "Keys", (rest) => rest === "" ? keys() : key(decodeURIComponent(rest))],
  ["endpoints", "Endpoints", endpoints],
  ["history", "History", history],
  ["kernel", "Kernel", kernel],
];

const main = document.querySelector("main") as HTMLElement;
const bar = document.querySelector("header") as HTMLElement;
const state = h("span", { class: "state", role: "status" }, "connecting");
let page: Page | null = null;
let stream: EventSource | null = null;
let last: Overview | null = null;

function show(): void {
  const [name = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const found = PAGES.find(([path]) => path === name) ?? PAGES[0];
  if (found === undefined) return;
  page?.close?.();
  const [path, title, open] = found;
  page = open(rest.join("/"));
  document.title = `${title} · ratelimitd`;
  fill(main, [page.element]);
  for (const link of bar.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${path}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  window.scrollTo(0, 0);
  if (last !== null) page.tick?.(last);
}

function watch(): void {
  stream?.close();
  stream = new EventSource("/api/live");
  stream.onmessage = (event: MessageEvent<string>) => {
    last = JSON.parse(event.data) as Overview;
    state.className = "state live";
    say(state, "live");
    page?.tick?.(last);
  };
  stream.onerror = () => {
    state.className = "state lost";
    say(state, "no connection");
    // The browser tries again by itself, but not after a no.
    if (stream?.readyState === EventSource.CLOSED) {
      get<{ is_known: boolean }>("/api/session").then(
        (session) => session.is_known ? setTimeout(watch, 2_000) : door(),
        () => setTimeout(watch, 2_000),
      );
    }
  };
}

function enter(): void {
  const nav = h("nav", { "aria-label": "Pages" }, ...PAGES.map(([path, title]) => h("a", { href: `#/${path}` }, title)));
  const leave = h("button", { class: "plain", onclick: async () => {
    await send("DELETE", "/api/session");
    location.reload();
  } }, "Sign out");
  fill(bar, [h("a", { class: "brand", href: "#/" }, "ratelimitd"), nav, h("span", { class: "right" }, state, leave)]);
  window.addEventListener("hashchange", () => {
    show();
    main.focus({ preventScroll: true });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page?.recolor?.());
  show();
  watch();
}

/** Asks for the token. */
function door(): void {
  stream?.close();
  page?.close?.();
  page = null;
  fill(bar, [h("span", { class: "brand" }, "ratelimitd")]);
  const told = h("p", { class: "wrong", role: "alert" });
  const token = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, spellcheck: "false" });
  const form = h("form", { class: "door", onsubmit: async (event: Event) => {
    event.preventDefault();
    try {
      await send("POST", "/api/session", { token: token.value.trim() });
      location.reload();
    } catch (error) {
      say(told, error instanceof Refused && error.status === 401 ? "That is not the token." : String(error));
      token.select();
    }
  } },
    h("h1", {}, "Sign in"),
    // For those who keep passwords.
    h("input", { type: "text", autocomplete: "username", value: "ratelimitd", hidden: true, "aria-hidden": "true" }),
    h("label", { for: "token" }, "Token"),
    token,
    h("p", { class: "note" }, "It is in the file that ", h("code", {}, "admin.token_file"), " names, on the host that runs ratelimitd."),
    told,
    h("button", { type: "submit" }, "Open the dashboard"));
  fill(main, [form]);
  token.focus();
}

get<{ is_known: boolean }>("/api/session").then(
  (session) => session.is_known ? enter() : door(),
  (error: unknown) => fill(main, [h("p", { class: "wrong", role: "alert" }, String(error))]),
);

// What several pages have.

import type { KeyRow } from "./api";
import { h } from "./dom";
import { count } from "./words";

/** The page of a key. */
export const href = (key: string) => `#/keys/${encodeURIComponent(key)}`;

/** A bar of what is used; who cannot see it hears the numbers. */
export function bar(used: number, limit: number): HTMLElement {
  const share = limit === 0 ? 0 : Math.min(1, used / limit);
  const fill = h("i", { class: share >= 0.95 ? "full" : share >= 0.8 ? "near" : "" });
  fill.style.width = `${(share * 100).toFixed(1)}%`;
  return h("span", { class: "bar", role: "meter", "aria-valuemin": 0, "aria-valuemax": limit, "aria-valuenow": used,
    "aria-label": `${count(used)} of ${count(limit)} used` }, fill);
}

/** What is to be said of a key that may not be used. */
export const state = (key: KeyRow) => key.state === "enabled" ? null : h("span", { class: "badge" }, key.state);

/** Buttons of which one is chosen. */
export function choice<T extends string | number>(label: string, options: [T, string][], chosen: T, choose: (value: T) => void): HTMLElement {
  const group = h("div", { class: "choice", role: "group", "aria-label": label });
  const show = (now: T) => group.replaceChildren(...options.map(([value, text]) => h("button", {
    type: "button",
    "aria-pressed": String(value === now),
    onclick: () => {
      show(value);
      choose(value);
      (group.querySelector("[aria-pressed=true]") as HTMLElement | null)?.focus();
    },
  }, text)));
  show(chosen);
  return group;
}

/** Calls `act` now and every so many seconds, until the signal; not while nobody looks. */
export function every(seconds: number, signal: AbortSignal, act: () => void): void {
  const timer = setInterval(() => {
    if (!document.hidden) act();
  }, seconds * 1_000);
  signal.addEventListener("abort", () => clearInterval(timer));
  act();
}

/** Says what went wrong, but not that a page was left. */
export function trouble(place: HTMLElement): (error: unknown) => void {
  return (error) => {
    if (error instanceof DOMException && error.name === "AbortError") return;
    place.replaceChildren(h("p", { class: "wrong", role: "alert" }, error instanceof Error ? error.message : String(error)));
  };
}

// All keys: who uses how much.

import { get, query, type KeyList, type KeyRow } from "../api";
import { fill, h, say, spark } from "../dom";
import type { Page } from "../main";
import { bar, every, href, state, trouble } from "../parts";
import { count, percent, plural } from "../words";

const SIZE = 50;

export function keys(): Page {
  const closing = new AbortController();
  const asked = { search: "", tier: "", state: "all", sort: "share", offset: 0 };
  const body = h("tbody");
  const told = h("p", { class: "note", role: "status" });
  const problem = h("div");
  const previous = h("button", { type: "button", onclick: () => turn(-SIZE) }, "Previous");
  const next = h("button", { type: "button", onclick: () => turn(SIZE) }, "Next");
  const tiers = h("select", { "aria-label": "Tier", onchange: () => ask({ tier: tiers.value }) }, h("option", { value: "" }, "All tiers"));
  const states = select("State", [["all", "All states"], ["enabled", "Enabled"], ["disabled", "Disabled"], ["expired", "Expired"], ["near", "Near the limit"], ["refused", "Refused lately"]], (value) => ask({ state: value }));
  const sorts = select("Order", [["share", "By share of the hour"], ["admitted", "By requests"], ["refused", "By refusals"], ["name", "By name"]], (value) => ask({ sort: value }));
  const search = h("input", { type: "search", placeholder: "Search name, tier or fingerprint", "aria-label": "Search", maxlength: 64, oninput: () => ask({ search: search.value }) });
  let turnedTo = 0;

  function turn(by: number): void {
    ask({ offset: Math.max(0, asked.offset + by) });
  }

  function ask(change: Partial<typeof asked>): void {
    Object.assign(asked, { offset: 0 }, change);
    load();
  }

  function load(): void {
    const number = ++turnedTo;
    get<KeyList>("/api/keys" + query({ ...asked, limit: SIZE }), closing.signal).then((list) => {
      // An answer to an older question may come late.
      if (number === turnedTo) show(list);
    }, trouble(problem));
  }

  function show(list: KeyList): void {
    fill(problem, []);
    fill(body, list.keys.map(row));
    const last = Math.min(list.total, asked.offset + list.keys.length);
    say(told, list.total === 0 ? "No key is like that." : `${count(asked.offset + 1)} to ${count(last)} of ${plural(list.total, "key")}`);
    previous.disabled = asked.offset === 0;
    next.disabled = last >= list.total;
    if (tiers.options.length !== list.tiers.length + 1) {
      fill(tiers, [h("option", { value: "" }, "All tiers"), ...list.tiers.map((tier) => h("option", { value: tier }, tier))]);
    }
  }

  every(5, closing.signal, load);
  return {
    element: h("div", {},
      h("h1", {}, "Keys"),
      h("div", { class: "tools" }, search, tiers, states, sorts),
      problem,
      h("section", { class: "card" }, h("table", { class: "keys" },
        h("thead", {}, h("tr", {}, ...["Key", "Tier", "Hour", "", "Burst", "429s, last hour", "Last hour"].map((column, index) =>
          h("th", { scope: "col", class: index === 2 || index === 4 || index === 5 ? "number" : "" }, column)))),
        body)),
      h("div", { class: "pages" }, told, previous, next)),
    close: () => closing.abort(),
  };
}

function select(label: string, options: [string, string][], choose: (value: string) => void): HTMLSelectElement {
  const element = h("select", { "aria-label": label, onchange: () => choose(element.value) },
    ...options.map(([value, text]) => h("option", { value }, text)));
  return element;
}

function row(key: KeyRow): HTMLElement {
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { href: href(key.name) }, key.name), state(key), h("small", {}, key.fingerprint)),
    h("td", { "data-label": "Tier" }, key.tier),
    h("td", { class: "number", "data-label": "Hour" }, `${count(key.used)} / ${count(key.limit)}`),
    h("td", { class: "wide" }, bar(key.used, key.limit), h("small", {}, percent(key.used, key.limit))),
    h("td", { class: "number", "data-label": "Burst" }, `${count(key.tokens)} / ${count(key.burst)}`),
    h("td", { class: "number" + (key.refused > 0 ? " refused" : ""), "data-label": "429s" }, count(key.refused)),
    h("td", {}, spark(key.spark[0], key.spark[1], `${count(key.admitted)} admitted and ${count(key.refused)} refused in the last hour`)));
}

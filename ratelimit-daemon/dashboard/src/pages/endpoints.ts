// Breakdown by rule and by route.

import { get, proxyRefused, type Counts, type Endpoints } from "../api";
import { fill, h, say } from "../dom";
import type { Page } from "../main";
import { choice, every, trouble } from "../parts";
import { brief, count, percent, span } from "../words";

const SPANS: [number, string][] = [[60, "Minute"], [3_600, "Hour"], [86_400, "Day"], [7 * 86_400, "Week"]];

export function endpoints(): Page {
  const closing = new AbortController();
  const rules = h("tbody");
  const routes = h("tbody");
  const note = h("p", { class: "note" });
  const problem = h("div");
  let seconds = 3_600;

  function load(): void {
    get<Endpoints>(`/api/endpoints?span=${seconds}`, closing.signal).then((answer) => {
      fill(problem, []);
      fill(rules, answer.rules.map((rule) => row(
        [rule.name, rule.is_dry_run ? h("span", { class: "badge" }, "dry run") : null,
          h("small", {}, `${count(rule.limit)} in ${span(rule.window_seconds)}: ${rule.endpoints.join(", ")}`)], rule.counts)));
      const most = Math.max(1, ...answer.routes.map((route) => route.counts.admitted + proxyRefused(route.counts)));
      fill(routes, [...answer.routes.map((route) => row([h("code", {}, route.name)], route.counts, most)),
        row(["other", h("small", {}, "routes that are not told apart, requests without a valid key")], answer.other, most)]);
      say(note, answer.kernel === 0 ? "" : `${count(answer.kernel)} more were refused in the kernel, which reads no paths.`);
    }, trouble(problem));
  }

  every(3, closing.signal, load);
  const head = () => h("thead", {}, h("tr", {}, ...["", "Admitted", "Refused", "Share refused", "Errors", ""].map((column, index) =>
    h("th", { scope: "col", class: index > 0 && index < 5 ? "number" : "" }, column))));
  return {
    element: h("div", {},
      h("h1", {}, "Endpoints"),
      choice("Time", SPANS, seconds, (value) => {
        seconds = value;
        load();
      }),
      problem,
      h("section", { class: "card" }, h("h2", {}, "Rules"), h("table", { class: "endpoints" }, head(), rules)),
      h("section", { class: "card" }, h("h2", {}, "Routes"), h("table", { class: "endpoints" }, head(), routes), note)),
    close: () => closing.abort(),
  };
}

function row(name: (string | HTMLElement | null)[], counts: Counts, most?: number): HTMLElement {
  const refused = proxyRefused(counts);
  const all = counts.admitted + refused;
  const errors = counts.unanswered + counts.server_error;
  const share = h("span", { class: "split", "aria-hidden": "true" });
  for (const [part, kind] of [[counts.admitted, "admitted"], [refused, "refused"]] as const) {
    const piece = h("i", { class: kind });
    piece.style.width = `${(part / (most ?? Math.max(1, all)) * 100).toFixed(2)}%`;
    share.append(piece);
  }
  return h("tr", {},
    h("th", { scope: "row" }, ...name),
    h("td", { class: "number", "data-label": "Admitted" }, brief(counts.admitted)),
    h("td", { class: "number" + (refused > 0 ? " refused" : ""), "data-label": "Refused" }, brief(refused)),
    h("td", { class: "number", "data-label": "Share" }, percent(refused, all)),
    h("td", { class: "number", "data-label": "Errors" }, brief(errors)),
    h("td", { class: "wide" }, share));
}

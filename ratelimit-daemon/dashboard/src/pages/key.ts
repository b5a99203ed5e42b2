// One key: what it may, what it did, and why it is refused.

import { get, query, type Counts, type Explanation, type KeyPage, type LimitStanding, type Series } from "../api";
import { fill, h } from "../dom";
import type { Page } from "../main";
import { bar, choice, every, state, trouble } from "../parts";
import { ADMITTED, KERNEL, PROXY, Plot } from "../plot";
import { count, duration, percent, span } from "../words";
import { heat, SPANS } from "./history";

export function key(name: string): Page {
  const closing = new AbortController();
  const plot = new Plot("Requests a second", [ADMITTED, KERNEL, PROXY], 200);
  const problem = h("div");
  const about = h("p", { class: "note" });
  const limits = h("tbody");
  const refusals = h("dl", { class: "facts" });
  const routes = h("tbody");
  const peaks = h("div");
  let seconds = 3_600;

  const load = () => {
    get<KeyPage>(`/api/keys/${encodeURIComponent(name)}`, closing.signal).then(show, trouble(problem));
    get<Series>("/api/history" + query({ key: name, span: seconds, points: 600 }), closing.signal).then((series) => plot.show(series), () => undefined);
  };
  const loadPeaks = () => get<Series>("/api/history" + query({ key: name, span: 90 * 86_400, points: 2_160 }), closing.signal)
    .then((series) => fill(peaks, [heat(series)]), () => undefined);

  function show(page: KeyPage): void {
    fill(problem, []);
    fill(about, [`Tier ${page.row.tier}, fingerprint `, h("code", {}, page.row.fingerprint), state(page.row)]);
    fill(limits, page.state.limits.map(limit));
    fill(refusals, reasons(page.hour));
    fill(routes, page.routes.length > 0 ? page.routes.map(route) : [h("tr", {}, h("td", { colspan: 3, class: "note" }, "No requests since the daemon's start."))]);
  }

  every(3, closing.signal, load);
  every(60, closing.signal, loadPeaks);
  return {
    element: h("div", {},
      h("p", { class: "crumb" }, h("a", { href: "#/keys" }, "Keys")),
      h("h1", {}, name), about, problem,
      h("section", { class: "card" }, choice("Time", SPANS, seconds, (value) => {
        seconds = value;
        load();
      }), plot.element),
      h("div", { class: "two" },
        h("section", { class: "card" }, h("h2", {}, "Limits now"), h("table", {},
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Limit"), h("th", { scope: "col", class: "number" }, "Used"), h("th", { scope: "col" }, ""))), limits)),
        h("section", { class: "card" }, h("h2", {}, "The last hour"), refusals)),
      h("div", { class: "two" },
        h("section", { class: "card" }, h("h2", {}, "Endpoints since the daemon's start"), h("table", {},
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Route"), h("th", { scope: "col", class: "number" }, "Admitted"), h("th", { scope: "col", class: "number" }, "Refused"))), routes)),
        h("section", { class: "card" }, h("h2", {}, "Would it be admitted?"), explain(name, closing.signal))),
      h("section", { class: "card" }, h("h2", {}, "Peak times"), peaks)),
    recolor: () => plot.recolor(),
    close() {
      closing.abort();
      plot.close();
    },
  };
}

function limit(limit: LimitStanding): HTMLElement {
  const used = limit.limit - limit.remaining;
  return h("tr", {},
    h("th", { scope: "row" }, limit.name, limit.is_dry_run ? h("span", { class: "badge" }, "dry run") : null,
      h("small", {}, `${count(limit.limit)} in ${span(limit.window_seconds)}` + (limit.wait_seconds > 0 ? `, admits in ${duration(limit.wait_seconds)}` : ""))),
    h("td", { class: "number" }, count(used)),
    h("td", { class: "wide" }, bar(used, limit.limit)));
}

function reasons(counts: Counts): HTMLElement[] {
  const fact = (label: string, number: number) => h("div", {}, h("dt", {}, label), h("dd", { class: "number" }, count(number)));
  return [
    fact("Admitted", counts.admitted),
    fact("Refused: burst, in the kernel", counts.kernel_burst),
    fact("Refused: hour, in the kernel", counts.kernel_hour),
    fact("Refused: burst, by the proxy", counts.refused_burst),
    fact("Refused: hour, by the proxy", counts.refused_hour),
    fact("Refused: an endpoint rule", counts.refused_rule),
    fact("A dry run would have refused", counts.observed),
    fact("Upstream errors", counts.unanswered + counts.server_error),
  ];
}

function route([name, counts]: [string, Counts]): HTMLElement {
  const refused = counts.refused_burst + counts.refused_hour + counts.refused_rule;
  return h("tr", {},
    h("th", { scope: "row" }, h("code", {}, name)),
    h("td", { class: "number" }, count(counts.admitted)),
    h("td", { class: "number" + (refused > 0 ? " refused" : "") }, count(refused)));
}

/** A form that asks what a request would get. */
function explain(key: string, signal: AbortSignal): HTMLElement {
  const method = h("select", { "aria-label": "Method" }, ...["GET", "POST", "PUT", "PATCH", "DELETE"].map((name) => h("option", {}, name)));
  const path = h("input", { "aria-label": "Path", value: "/", maxlength: 1_000, required: true, spellcheck: "false" });
  const answer = h("div", { role: "status" });
  const ask = async (event: Event) => {
    event.preventDefault();
    await get<Explanation>("/api/explain" + query({ key, method: method.value, path: path.value }), signal).then((told) => {
      const verdict = told.verdict === "refused"
        ? `Refused by ${told.refused_by}` + (told.retry_after === null ? "." : `; admitted in ${duration(told.retry_after)}.`)
        : told.verdict === "observed" ? `Admitted by the dry run; ${told.refused_by} would refuse it.` : "Admitted.";
      fill(answer, [h("p", { class: told.verdict === "refused" ? "refused" : "" }, verdict),
        h("p", { class: "note" }, told.limits.map((limit) => `${limit.name} ${percent(limit.limit - limit.remaining, limit.limit)}`).join(" · "))]);
    }, trouble(answer));
  };
  return h("form", { class: "explain", onsubmit: ask }, method, path, h("button", { type: "submit" }, "Explain"), answer);
}

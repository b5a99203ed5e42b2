// How it is now.

import { get, kernelRefused, proxyRefused, refused, type Counts, type KeyRow, type Overview, type Series } from "../api";
import { fill, h, say } from "../dom";
import type { Page } from "../main";
import { bar, every, href, state } from "../parts";
import { ADMITTED, KERNEL, PROXY, Plot } from "../plot";
import { brief, count, duration, percent, plural, rate } from "../words";

/** Seconds that the plot goes back. */
const SPAN = 300;

function tile(label: string): { element: HTMLElement; set(value: string, note: string): void } {
  const value = h("dd", { class: "value" }, "–");
  const note = h("dd", { class: "note" }, " ");
  return {
    element: h("div", { class: "tile" }, h("dt", {}, label), value, note),
    set(text, words) {
      say(value, text);
      say(note, words);
    },
  };
}

export function overview(): Page {
  const tiles = {
    admitted: tile("Admitted"),
    kernel: tile("Refused in the kernel"),
    proxy: tile("Refused by the proxy"),
    errors: tile("Upstream errors"),
    keys: tile("Keys near their hour"),
    cpu: tile("CPU"),
  };
  const plot = new Plot("Requests a second, over five minutes", [ADMITTED, KERNEL, PROXY]);
  const concerns = h("ul", { class: "concerns" });
  const byUse = h("tbody");
  const byShare = h("tbody");
  const facts = h("dl", { class: "facts" });
  const closing = new AbortController();
  const load = () => get<Series>(`/api/history?span=${SPAN}&points=${SPAN}`, closing.signal).then((series) => plot.show(series), () => undefined);
  every(30, closing.signal, load);
  const element = h("div", {},
    h("h1", {}, "Overview"),
    h("dl", { class: "tiles" }, ...Object.values(tiles).map((tile) => tile.element)),
    concerns,
    h("section", { class: "card" }, plot.element),
    h("div", { class: "two" },
      table("Most used in the last hour", ["Key", "Admitted", "Refused"], byUse),
      table("Nearest to their limit", ["Key", "Hour", ""], byShare)),
    h("section", { class: "card" }, h("h2", {}, "Daemon"), facts));
  return {
    element,
    tick(now) {
      const perSecond = (of: (counts: Counts) => number) => rate(of(now.recent) / now.recent_seconds) + "/s";
      tiles.admitted.set(perSecond((counts) => counts.admitted), `${count(now.hour.admitted)} in the last hour`);
      tiles.kernel.set(perSecond(kernelRefused), `${count(kernelRefused(now.hour))} in the last hour`);
      tiles.proxy.set(perSecond(proxyRefused), `${count(proxyRefused(now.hour))} in the last hour`);
      const errors = (counts: Counts) => counts.unanswered + counts.server_error;
      tiles.errors.set(perSecond(errors), `${count(errors(now.hour))} in the last hour`);
      tiles.keys.set(count(now.near[0]), `of ${plural(now.status.keys.all, "key")}; ${count(now.near[1])} at 95 % or more`);
      tiles.cpu.set(`${now.cpu_percent.toFixed(now.cpu_percent < 10 ? 1 : 0)} %`, "of one processor, the whole daemon");
      follow(plot, now);
      fill(concerns, now.concerns.map((concern) => h("li", { class: concern.is_severe ? "severe" : "" },
        concern.key === null ? concern.text : h("a", { href: href(concern.key) }, concern.text))));
      fill(byUse, rows(now.top_by_use, useRow, "No requests in the last hour."));
      fill(byShare, rows(now.top_by_share, shareRow, "No key has used any of its hour."));
      fill(facts, about(now));
    },
    recolor: () => plot.recolor(),
    close() {
      closing.abort();
      plot.close();
    },
  };
}

/** Adds the last second to the plot. */
function follow(plot: Plot, now: Overview): void {
  const series = plot.series;
  if (series === null) return;
  const second = now.second_at;
  const next = series.start + series.points;
  // A second is missing: where it should be, what came in it is in the next.
  const steps = Math.min(SPAN, Math.max(0, second - next + 1));
  if (steps === 0) return;
  const moved: Series = { ...series, start: series.start + steps };
  for (const [kind, number] of Object.entries(now.second) as [keyof Counts, number][]) {
    const counts = series[kind] ?? new Array<number>(series.points).fill(0);
    moved[kind] = [...counts.slice(steps), ...new Array<number>(steps - 1).fill(0), number];
  }
  plot.show(moved);
}

function table(title: string, columns: string[], body: HTMLElement): HTMLElement {
  return h("section", { class: "card" }, h("h2", {}, title), h("table", {},
    h("thead", {}, h("tr", {}, ...columns.map((column, index) => h("th", { scope: "col", class: index > 0 ? "number" : "" }, column)))),
    body));
}

function rows(keys: KeyRow[], row: (key: KeyRow) => HTMLElement, nothing: string): HTMLElement[] {
  return keys.length > 0 ? keys.map(row) : [h("tr", {}, h("td", { colspan: 3, class: "note" }, nothing))];
}

const name = (key: KeyRow) => h("th", { scope: "row" }, h("a", { href: href(key.name) }, key.name), state(key));

const useRow = (key: KeyRow) => h("tr", {}, name(key),
  h("td", { class: "number" }, brief(key.admitted)),
  h("td", { class: "number" + (key.refused > 0 ? " refused" : "") }, brief(key.refused)));

const shareRow = (key: KeyRow) => h("tr", {}, name(key),
  h("td", { class: "number" }, percent(key.used, key.limit)),
  h("td", { class: "wide" }, bar(key.used, key.limit)));

function about(now: Overview): HTMLElement[] {
  const { status } = now;
  const fact = (label: string, ...values: (string | HTMLElement)[]) =>
    h("div", {}, h("dt", {}, label), h("dd", {}, ...values.flatMap((value, index) => index === 0 ? [value] : [", ", value])));
  const attached = status.interfaces.map((interfaces) => `${interfaces.interface} (${interfaces.mode})`);
  const upstreams = status.upstreams.map((upstream) =>
    h("span", { class: upstream.is_up ? "" : "refused" }, `${upstream.address} ${upstream.is_up ? "up" : "down"}`));
  return [
    fact("Version", status.version),
    fact("Up for", duration(status.uptime_seconds)),
    fact("Mode", `${status.mode}, action ${status.action}`),
    fact("Attached to", ...(attached.length > 0 ? attached : ["nothing: the proxy enforces alone"])),
    ...(upstreams.length > 0 ? [fact("Upstreams", ...upstreams)] : []),
    fact("Admitted since the start", count(now.since_start.admitted)),
    fact("Refused since the start", count(refused(now.since_start))),
    fact("Without a valid key or request", count(now.since_start.rejected)),
  ];
}

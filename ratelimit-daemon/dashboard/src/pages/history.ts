// What was: an hour to 90 days, of all keys or one, and when most is asked for.

import { get, query, type KeyList, type Series } from "../api";
import { fill, h, say } from "../dom";
import type { Page } from "../main";
import { choice, every, trouble } from "../parts";
import { ADMITTED, KERNEL, PROXY, Plot, REFUSED } from "../plot";
import { brief, count, duration } from "../words";

export const SPANS: [number, string][] =
  [[3_600, "Hour"], [6 * 3_600, "6 hours"], [86_400, "Day"], [7 * 86_400, "Week"], [30 * 86_400, "30 days"], [90 * 86_400, "90 days"]];

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

export function history(): Page {
  const closing = new AbortController();
  const all = new Plot("Requests a second", [ADMITTED, KERNEL, PROXY]);
  const refusals = new Plot("429s a second", [REFUSED], 140);
  const peaks = h("div");
  const note = h("p", { class: "note" });
  const problem = h("div");
  const known = h("datalist", { id: "known-keys" });
  const key = h("input", { type: "search", list: "known-keys", placeholder: "All keys", "aria-label": "Key", maxlength: 64, onchange: () => load(), oninput: () => suggest() });
  let seconds = 3_600;

  function load(): void {
    const of = key.value === "" ? undefined : key.value;
    get<Series>("/api/history" + query({ key: of, span: seconds, points: 720 }), closing.signal).then((series) => {
      fill(problem, []);
      all.show(series);
      refusals.show(series);
      const kept = Math.floor(Date.now() / 1_000) - series.since;
      say(note, `A point is ${duration(series.step)}.` + (kept < seconds ? ` The record goes back ${duration(Math.max(0, kept))}.` : ""));
    }, trouble(problem));
    get<Series>("/api/history" + query({ key: of, span: 90 * 86_400, points: 2_160 }), closing.signal)
      .then((series) => fill(peaks, [heat(series)]), () => undefined);
  }

  function suggest(): void {
    get<KeyList>("/api/keys" + query({ search: key.value, limit: 10, sort: "admitted" }), closing.signal)
      .then((list) => fill(known, list.keys.map((found) => h("option", { value: found.name }))), () => undefined);
  }

  every(5, closing.signal, load);
  return {
    element: h("div", {},
      h("h1", {}, "History"),
      h("div", { class: "tools" }, key, known, choice("Time", SPANS, seconds, (value) => {
        seconds = value;
        load();
      })),
      problem,
      h("section", { class: "card" }, all.element, note),
      h("section", { class: "card" }, refusals.element),
      h("section", { class: "card" }, h("h2", {}, "Peak times"), peaks)),
    recolor() {
      all.recolor();
      refusals.recolor();
    },
    close() {
      closing.abort();
      all.close();
      refusals.close();
    },
  };
}

/** Requests by day of the week and hour of the day, on the clock of who looks. `series` has steps of an hour. */
export function heat(series: Series): HTMLElement {
  const sums = DAYS.map(() => new Array<number>(24).fill(0));
  const lists = [ADMITTED.of(series), REFUSED.of(series)];
  for (let index = 0; index < series.points; index++) {
    const time = new Date((series.start + index * series.step) * 1_000);
    const day = sums[(time.getDay() + 6) % 7];
    const hour = time.getHours();
    if (day !== undefined) day[hour] = (day[hour] ?? 0) + lists.reduce((sum, list) => sum + (list[index] ?? 0), 0);
  }
  const most = Math.max(...sums.flat());
  if (most === 0) return h("p", { class: "note" }, "No requests yet.");
  const cell = (number: number, day: number, hour: number) => {
    const cell = h("td", { title: `${DAYS[day]} ${hour}:00: ${count(number)} requests` }, h("span", { class: "unseen" }, count(number)));
    cell.style.setProperty("--heat", (number / most).toFixed(3));
    return cell;
  };
  let [peakDay, peakHour] = [0, 0];
  sums.forEach((day, index) => day.forEach((number, hour) => {
    if (number > (sums[peakDay]?.[peakHour] ?? 0)) [peakDay, peakHour] = [index, hour];
  }));
  const words = `Most: ${DAYS[peakDay]} from ${peakHour}:00 to ${peakHour + 1}:00, ${brief(most)} requests, admitted and refused, over the last 90 days.`;
  return h("div", {},
    h("p", { class: "note" }, words),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Requests by day and hour" }, h("table", { class: "heat" },
      h("thead", {}, h("tr", {}, h("th", {}), ...Array.from({ length: 24 }, (_, hour) => h("th", { scope: "col" }, hour % 3 === 0 ? hour : "")))),
      h("tbody", {}, ...sums.map((day, index) => h("tr", {}, h("th", { scope: "row" }, DAYS[index] ?? ""), ...day.map((number, hour) => cell(number, index, hour))))))));
}

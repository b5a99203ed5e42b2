// What the kernel program found.

import type { Overview } from "../api";
import { fill, h, say } from "../dom";
import type { Page } from "../main";
import { bar } from "../parts";
import { count, percent, plural, rate } from "../words";

const WORDS: Record<string, string> = {
  admitted: "within all limits that the kernel knows, and charged",
  refused_burst: "the bucket was empty",
  refused_blocked: "the hour was used up, or a rule's window for all requests",
  observed: "a dry run let it pass",
  retransmit: "charged before; many: loss on the way",
  not_ip: "neither IPv4 nor IPv6",
  not_tcp: "not TCP",
  fragment: "a fragment of an IP packet",
  other_port: "a port that is not guarded",
  malformed: "a header that does not fit its packet",
  control: "opens or closes a connection",
  no_payload: "a bare acknowledgement",
  not_request: "the middle of a request, TLS, HTTP/2",
  no_key: "a head without a key in this segment",
  key_cut: "the key's end is in another segment",
  unusual: "a spelling that only the proxy judges",
  unknown_key: "many: somebody guesses keys",
  flow_full: "at all: raise kernel.max_flows",
  contended: "one key on very many processors",
  fault: "at all: see the daemon's log",
  unexpected: "spoofed, or old",
  busy: "the proxy has an earlier request in hand",
  no_room: "the answer does not fit the frame; the proxy answers",
  closing: "on a connection that the kernel has answered",
  early: "something before it has yet to come",
};

export function kernel(): Page {
  const verdicts = h("tbody");
  const skips = h("tbody");
  const note = h("p", { class: "note" });
  const facts = h("dl", { class: "facts" });
  let before: { at: number; found: Record<string, number> } | null = null;
  const rates = new Map<string, number>();

  function measure(now: Overview, found: Record<string, number>): void {
    const seconds = before === null ? 0 : now.at - before.at;
    if (before !== null && seconds > 0) {
      for (const [name, number] of Object.entries(found)) rates.set(name, Math.max(0, number - (before.found[name] ?? 0)) / seconds);
    }
    if (before === null || seconds > 0) before = { at: now.at, found };
  }

  const head = (title: string) => h("thead", {}, h("tr", {}, h("th", { scope: "col" }, title),
    ...["Now", "Since the start", "Share"].map((column) => h("th", { scope: "col", class: "number" }, column))));
  return {
    element: h("div", {},
      h("h1", {}, "Kernel"), note,
      h("section", { class: "card" }, facts),
      h("div", { class: "two" },
        h("section", { class: "card" }, h("h2", {}, "Verdicts"), h("table", {}, head("Verdict"), verdicts)),
        h("section", { class: "card" }, h("h2", {}, "Skips"), h("table", {}, head("Reason"), skips)))),
    tick(now) {
      const { status } = now;
      const fact = (label: string, ...value: (string | HTMLElement)[]) => h("div", {}, h("dt", {}, label), h("dd", {}, ...value));
      fill(facts, [
        ...status.interfaces.map((attached) => fact(attached.interface, `${attached.mode}, program ${attached.program_id}`)),
        fact("Ports", status.ports.join(", ") || "none"),
        fact("Keys' table", `${plural(status.keys.all, "key")} of ${count(status.keys.room)} `, bar(status.keys.all, status.keys.room)),
      ]);
      if (status.kernel === null) {
        say(note, "There is no kernel program: kernel.interfaces is empty, and the proxy enforces alone.");
        return;
      }
      const { verdicts: judged, skips: skipped } = status.kernel;
      measure(now, { ...judged, ...skipped });
      fill(verdicts, rows(judged, rates));
      fill(skips, rows(skipped, rates));
    },
  };
}

function rows(found: Record<string, number>, rates: Map<string, number>): HTMLElement[] {
  const all = Object.values(found).reduce((sum, number) => sum + number, 0);
  const sorted = Object.entries(found).sort(([, one], [, other]) => other - one);
  return sorted.map(([name, number]) => h("tr", { class: number === 0 ? "nothing" : "" },
    h("th", { scope: "row" }, h("code", {}, name), h("small", {}, WORDS[name] ?? "")),
    h("td", { class: "number" }, rate(rates.get(name) ?? 0) + "/s"),
    h("td", { class: "number" }, count(number)),
    h("td", { class: "number" }, percent(number, all))));
}

// What the daemon tells, and how it is asked.

export interface Counts {
  admitted: number;
  refused_burst: number;
  refused_hour: number;
  refused_rule: number;
  kernel_burst: number;
  kernel_hour: number;
  observed: number;
  rejected: number;
  unanswered: number;
  server_error: number;
}

export interface KeyRow {
  name: string;
  tier: string;
  fingerprint: string;
  state: "enabled" | "disabled" | "expired";
  used: number;
  limit: number;
  tokens: number;
  burst: number;
  admitted: number;
  refused: number;
  spark: [number[], number[]];
}

export interface Status {
  version: string;
  process_id: number;
  uptime_seconds: number;
  mode: string;
  action: string;
  listeners: string[];
  upstreams: { address: string; is_up: boolean }[];
  interfaces: { interface: string; mode: string; program_id: number }[];
  ports: number[];
  keys: { all: number; disabled: number; expired: number; room: number };
  kernel: { verdicts: Record<string, number>; skips: Record<string, number> } | null;
}

export interface Overview {
  at: number;
  status: Status;
  second_at: number;
  second: Counts;
  recent: Counts;
  recent_seconds: number;
  hour: Counts;
  since_start: Counts;
  cpu_percent: number;
  near: [number, number];
  top_by_use: KeyRow[];
  top_by_share: KeyRow[];
  concerns: { is_severe: boolean; text: string; key: string | null }[];
}

export interface KeyList {
  total: number;
  tiers: string[];
  keys: KeyRow[];
}

export interface LimitStanding {
  name: string;
  limit: number;
  remaining: number;
  window_seconds: number;
  wait_seconds: number;
  is_dry_run: boolean;
}

export interface KeyPage {
  row: KeyRow;
  state: { limits: LimitStanding[] };
  hour: Counts;
  routes: [string, Counts][];
}

export interface Explanation {
  verdict: "admitted" | "refused" | "observed";
  refused_by: string | null;
  retry_after: number | null;
  limits: LimitStanding[];
}

export interface Endpoints {
  rules: {
    name: string;
    endpoints: string[];
    limit: number;
    window_seconds: number;
    is_dry_run: boolean;
    counts: Counts;
  }[];
  routes: { name: string; counts: Counts }[];
  other: Counts;
  kernel: number;
}

/** A series: kinds that did not occur have no list. */
export type Series = { start: number; step: number; since: number; points: number } & Partial<Record<keyof Counts, number[]>>;

/** An answer that says no. */
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** Asks for `path`; an error says what the daemon says. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await send("GET", path, undefined, signal)).json() as Promise<T>;
}

export async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: HeadersInit = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body === undefined ? null : JSON.stringify(body), signal: signal ?? null });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null) as { error?: { message?: string } } | null;
  throw new Refused(answer.status, told?.error?.message ?? `The daemon answered ${answer.status}.`);
}

/** A query of those values that are there. */
export function query(values: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return pairs.length === 0 ? "" : "?" + new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
}

export const kernelRefused = (counts: Counts) => counts.kernel_burst + counts.kernel_hour;
export const proxyRefused = (counts: Counts) => counts.refused_burst + counts.refused_hour + counts.refused_rule;
export const refused = (counts: Counts) => kernelRefused(counts) + proxyRefused(counts);

// Plots over time, by uPlot.

import uPlot from "uplot";
import type { Series } from "./api";
import { h } from "./dom";
import { brief, count } from "./words";

/** One line of a plot. */
export interface Line {
  label: string;
  /** A custom property of the style sheet. */
  color: string;
  of: (series: Series) => number[];
}

const list = (series: Series, ...kinds: (keyof Series)[]): number[] => {
  const sum = new Array<number>(series.points).fill(0);
  for (const kind of kinds) {
    const counts = series[kind];
    if (Array.isArray(counts)) counts.forEach((number, index) => sum[index] = (sum[index] ?? 0) + number);
  }
  return sum;
};

export const ADMITTED: Line = { label: "admitted", color: "--admitted", of: (series) => list(series, "admitted") };
export const KERNEL: Line = {
  label: "refused in the kernel",
  color: "--kernel",
  of: (series) => list(series, "kernel_burst", "kernel_hour"),
};
export const PROXY: Line = {
  label: "refused by the proxy",
  color: "--refused",
  of: (series) => list(series, "refused_burst", "refused_hour", "refused_rule"),
};
export const REFUSED: Line = {
  label: "429s",
  color: "--refused",
  of: (series) => list(series, "kernel_burst", "kernel_hour", "refused_burst", "refused_hour", "refused_rule"),
};

const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What stands under a plot whose marks are so many seconds apart. */
function moment(time: number, step: number): string {
  const date = new Date(time * 1_000);
  const two = (number: number) => String(number).padStart(2, "0");
  if (step >= 86_400) return date.toLocaleDateString(undefined, { day: "numeric", month: "short" });
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (step < 60) return `${minutes}:${two(date.getSeconds())}`;
  return date.getHours() === 0 && date.getMinutes() === 0 ? date.toLocaleDateString(undefined, { day: "numeric", month: "short" }) : minutes;
}

/** A plot of requests a second, which follows the width of its place. */
export class Plot {
  readonly element: HTMLElement;
  #place = h("div", { class: "plot", "aria-hidden": "true" });
  #legend = h("p", { class: "legend" });
  #plot: uPlot | null = null;
  #series: Series | null = null;
  #lines: Line[];
  #height: number;
  #watch = new ResizeObserver(() => this.#fit());

  constructor(title: string, lines: Line[], height = 220) {
    this.#lines = lines;
    this.#height = height;
    this.element = h("figure", {}, h("figcaption", {}, title), this.#place, this.#legend);
    this.#watch.observe(this.#place);
  }

  /** Shows `series`. */
  show(series: Series): void {
    this.#series = series;
    const step = series.step;
    const times = Array.from({ length: series.points }, (_, index) => series.start + index * step);
    const values = this.#lines.map((line) => line.of(series).map((number) => number / step));
    const totals = this.#lines.map((line) => line.of(series).reduce((sum, number) => sum + number, 0));
    this.#legend.replaceChildren(...this.#lines.map((line, index) => {
      const mark = h("i", { class: "mark" });
      mark.style.background = `var(${line.color})`;
      return h("span", {}, mark, `${line.label} `, h("b", {}, count(totals[index] ?? 0)));
    }));
    const data = [times, ...values] as uPlot.AlignedData;
    if (this.#plot === null) this.#plot = this.#make(data);
    else this.#plot.setData(data);
  }

  /** The series that is shown. */
  get series(): Series | null {
    return this.#series;
  }

  /** Takes the colours of the page anew. */
  recolor(): void {
    this.#plot?.destroy();
    this.#plot = null;
    if (this.#series !== null) this.show(this.#series);
  }

  #make(data: uPlot.AlignedData): uPlot {
    const axis = { stroke: color("--faint"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const line = (line: Line): uPlot.Series => ({
      label: line.label,
      stroke: color(line.color),
      fill: color(line.color) + "22",
      width: 1.5,
      points: { show: false },
      paths: uPlot.paths.stepped?.({ align: 1 }),
      value: (_, value: number | null) => value === null ? "–" : `${brief(value)}/s`,
    });
    const options: uPlot.Options = {
      width: Math.max(200, this.#place.clientWidth),
      height: this.#height,
      legend: { show: false },
      cursor: { y: false, points: { show: false } },
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: [{ ...axis, size: 30, space: 72, values: (_, times, __, ___, step) => times.map((time) => moment(time, step)) }, { ...axis, size: 48, values: (_, values) => values.map((value) => brief(value)) }],
      series: [{}, ...this.#lines.map(line)],
      hooks: { setCursor: [(plot) => this.#tell(plot)] },
    };
    return new uPlot(options, data, this.#place);
  }

  /** Says in the plot's title what is under the pointer. */
  #tell(plot: uPlot): void {
    const index = plot.cursor.idx;
    const time = index === null || index === undefined ? undefined : plot.data[0][index];
    this.#place.title = time === undefined || index === null || index === undefined ? "" : [
      new Date(time * 1_000).toLocaleString(),
      ...this.#lines.map((line, number) => `${line.label}: ${brief(plot.data[number + 1]?.[index] ?? 0)}/s`),
    ].join("\n");
  }

  #fit(): void {
    const width = this.#place.clientWidth;
    if (width > 0) this.#plot?.setSize({ width, height: this.#height });
  }

  close(): void {
    this.#watch.disconnect();
    this.#plot?.destroy();
  }
}

// Elements, made without markup: whatever a key or a path is called, it is text.

type Child = Node | string | number | null | undefined | false;
type Attributes = Record<string, string | number | boolean | EventListener | undefined>;

/** An element with these attributes (`on...` are listeners) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value);
    } else if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  fill(element, children);
  return element;
}

/** Puts `children` in the place of what is in `element`. */
export function fill(element: Element, children: Child[]): void {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false).map(
    (child) => child instanceof Node ? child : String(child),
  ));
}

/** Sets the text of `element`, if it is another. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/** A small plot of two stacked series without axes; its words are for who cannot see it. */
export function spark(admitted: number[], refused: number[], words: string): SVGSVGElement {
  const width = 120;
  const height = 24;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", words);
  const most = Math.max(1, ...admitted.map((count, index) => count + (refused[index] ?? 0)));
  const step = width / Math.max(1, admitted.length);
  const bars = (kind: string, from: (index: number) => number, to: (index: number) => number) => {
    const path = document.createElementNS(SVG, "path");
    let line = "";
    admitted.forEach((_, index) => {
      const [low, high] = [from(index), to(index)];
      if (high <= low) return;
      const top = height - Math.max(1, high / most * (height - 2));
      const bottom = height - low / most * (height - 2);
      line += `M${(index * step).toFixed(1)} ${bottom.toFixed(1)}V${top.toFixed(1)}h${(step * 0.8).toFixed(1)}V${bottom.toFixed(1)}z`;
    });
    path.setAttribute("d", line);
    path.setAttribute("class", kind);
    svg.append(path);
  };
  bars("admitted", () => 0, (index) => admitted[index] ?? 0);
  bars("refused", (index) => admitted[index] ?? 0, (index) => (admitted[index] ?? 0) + (refused[index] ?? 0));
  return svg;
}

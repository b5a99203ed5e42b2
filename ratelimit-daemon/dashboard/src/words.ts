// Numbers and times for people.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A count in full. */
export const count = (number: number) => whole.format(number);

/** A count in a few characters. */
export const brief = (number: number) => Math.abs(number) < 10_000 ? whole.format(Math.round(number * 10) / 10) : short.format(number);

/** Events in each second. */
export const rate = (number: number) =>
  number === 0 ? "0" : number < 10 ? number.toFixed(1) : brief(Math.round(number));

export const percent = (part: number, all: number) => all === 0 ? "0 %" : `${(part / all * 100).toFixed(part / all < 0.0995 ? 1 : 0)} %`;

/** A length of time. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h ${Math.floor(seconds % 3_600 / 60)} min`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** What a window is called. */
export const span = (seconds: number) =>
  seconds === 3_600 ? "an hour" : seconds === 60 ? "a minute" : seconds === 86_400 ? "a day" : duration(seconds);

export const plural = (number: number, one: string, many = one + "s") => `${count(number)} ${number === 1 ? one : many}`;

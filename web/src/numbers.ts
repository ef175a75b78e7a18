// Numbers as text.

/** A number from the server: JSON has neither NaN nor infinities. */
export type Figured = number | "NaN" | "Infinity" | "-Infinity";

/** A number with at most `digits` digits, short even if it is very large or small. */
export function number(x: number, digits = 6): string {
  if (!Number.isFinite(x)) return String(x);
  const rounded = Number(x.toPrecision(digits));
  const size = Math.abs(rounded);
  if (rounded === 0 || (size >= 1e-4 && size < 1e7)) return minus(String(rounded));
  return minus(rounded.toExponential().replace("e+", "e"));
}

/** A count with a thin space between groups of three digits. */
export function count(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** The number of digits that distinguishes positions on an axis of this width. */
export function digitsFor(start: number, end: number): number {
  const size = Math.max(Math.abs(start), Math.abs(end));
  const common = Math.floor(Math.log10(size / Math.abs(end - start)));
  return Number.isFinite(common) ? Math.min(Math.max(common, 0) + 4, 15) : 6;
}

/** Round numbers from `start` to `end`, at most about `most`; only the ends if no round ones are close enough. */
export function ticks(start: number, end: number, most: number): number[] {
  const [low, high] = start < end ? [start, end] : [end, start];
  const least = (high - low) / Math.max(most, 2);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * (1 - 1e-9));
  const isFine =
    step !== undefined &&
    step > 0 &&
    Number.isFinite(step) &&
    Math.max(Math.abs(low), Math.abs(high)) / step < 1e12;
  if (!isFine) return [start, end];
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(last - first + 1, 0) }, (_, index) => {
    const tick = (first + index) * step;
    return Math.abs(tick) < step * 1e-9 ? 0 : tick;
  });
}

/** A value of a recording in one short line. */
export function short(value: unknown, most = 60): string {
  return cut(typeof value === "number" ? number(value) : exact(value), most);
}

/** A value of a recording, with all digits of its numbers. */
export function exact(value: unknown, most = Infinity): string {
  return cut(typeof value === "string" ? value : json(value), most);
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function json(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(json).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  return `{${Object.entries(value)
    .map(([name, value]) => `${JSON.stringify(name)}: ${json(value)}`)
    .join(", ")}}`;
}

/** Whether a value is a number that is not finite. */
export function isAlarming(value: unknown): boolean {
  return value === "NaN" || value === "Infinity" || value === "-Infinity";
}

function minus(text: string): string {
  return text.replace(/^-/, "−").replace("e-", "e−");
}

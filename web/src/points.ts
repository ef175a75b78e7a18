// The points of lines in uPlot's form, and smoothing.
import type { Line } from "./api.ts";

export type Columns = [xs: number[], ys: (number | null)[]];

/**
 * The points of a line with a gap between its parts. Points that share a pixel column share their x, which uPlot
 * does not allow: they are moved apart by far less than a pixel.
 */
export function columnsOf(line: Line, start: number, end: number): Columns {
  const least = Math.max(Math.abs(end - start) * 1e-6, Math.max(Math.abs(start), Math.abs(end)) * 2 ** -50);
  const xs: number[] = [];
  const ys: (number | null)[] = [];
  const push = (x: number, y: number | null): void => {
    const before = xs[xs.length - 1];
    xs.push(before !== undefined && x <= before ? before + least : x);
    ys.push(y);
  };
  line.parts.forEach((part, index) => {
    if (index > 0 && part[0]) push(((xs[xs.length - 1] ?? part[0][0]) + part[0][0]) / 2, null);
    for (const [x, y] of part) push(x, y);
  });
  return [xs, ys];
}

/**
 * The moving mean over a window of x. Where several records share a pixel column, the first and the last of
 * them are averaged; the smallest and the largest, which are points of the line too, are not typical.
 */
export function smoothed(line: Line, width: number): Line {
  return { label: line.label, parts: line.parts.map((part) => movingMean(samples(part), width)) };
}

function samples(part: [number, number][]): [number, number][] {
  const found: [number, number][] = [];
  for (let start = 0; start < part.length;) {
    const [x, first] = part[start] as [number, number];
    let end = start + 1;
    while (part[end]?.[0] === x) end++;
    found.push([x, (first + (part[end - 1] as [number, number])[1]) / 2]);
    start = end;
  }
  return found;
}

function movingMean(points: [number, number][], width: number): [number, number][] {
  let [first, end, sum] = [0, 0, 0];
  return points.map(([x]) => {
    for (; end < points.length && (points[end] as [number, number])[0] <= x + width / 2; end++)
      sum += (points[end] as [number, number])[1];
    for (; (points[first] as [number, number])[0] < x - width / 2; first++)
      sum -= (points[first] as [number, number])[1];
    return [x, sum / (end - first)];
  });
}

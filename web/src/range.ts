// Ranges of an x axis: zooming and moving.

export type Range = [start: number, end: number];

/** A range `factor` times as wide around the same middle, within `full`; undefined if that is all of it. */
export function zoomed([start, end]: Range, factor: number, full: Range): Range | undefined {
  const middle = start / 2 + end / 2;
  const half = (end / 2 - start / 2) * factor;
  return within([middle - half, middle + half], full);
}

/** A range moved by a part of its width, within `full`. */
export function moved([start, end]: Range, part: number, full: Range): Range | undefined {
  const by = (end - start) * part;
  const most = by > 0 ? Math.max(full[1] - end, 0) : Math.min(full[0] - start, 0);
  const step = Math.abs(by) < Math.abs(most) ? by : most;
  return within([start + step, end + step], full);
}

/** The effect of a pressed key on a range: `undefined` shows everything, `null` changes nothing. */
export function pressed(key: string, range: Range, full: Range): Range | undefined | null {
  if (key === "+" || key === "=") return zoomed(range, 0.5, full);
  if (key === "-") return zoomed(range, 2, full);
  if (key === "ArrowLeft") return moved(range, -0.25, full);
  if (key === "ArrowRight") return moved(range, 0.25, full);
  if (key === "0" || key === "Home" || key === "Escape") return undefined;
  return null;
}

/** A range with few digits, for addresses. */
export function rounded([start, end]: Range): Range {
  const step = 10 ** Math.floor(Math.log10((end - start) / 10_000));
  const round = (x: number): number => Number((Math.round(x / step) * step).toPrecision(15));
  const range: Range = [round(start), round(end)];
  return range[0] < range[1] && range.every(Number.isFinite) ? range : [start, end];
}

function within([start, end]: Range, full: Range): Range | undefined {
  const [low, high] = [Math.max(start, full[0]), Math.min(end, full[1])];
  if (low <= full[0] && high >= full[1]) return undefined;
  return low < high ? [low, high] : undefined;
}

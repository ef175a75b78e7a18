// Lines, drawn by uPlot. The server has reduced them to fit into the pixels.
import uPlot from "uplot";
import type { Figure } from "./api.ts";
import { digitsFor, number, ticks } from "./numbers.ts";
import { columnsOf, smoothed, type Columns } from "./points.ts";
import type { Range } from "./range.ts";
import { colour, lineColour } from "./theme.ts";

interface Options {
  width: number;
  height: number;
  /** The range of the x axis, if it differs from that of the figure. */
  range: Range;
  /** The width of the smoothing window, on the x axis. */
  smooth: number;
  /** Whether the lines enclose areas. */
  isFilled: boolean;
}

const FONT = "12px system-ui, sans-serif";

export class LinePlot {
  readonly #container: HTMLElement;
  readonly #zoom: ((range: Range) => void) | undefined;
  #plot: uPlot | undefined;
  #structure = "";
  #figure: Figure | undefined;
  #range: Range = [0, 1];

  /** Draws into a container. Calls `zoom` with the range that the user selects. */
  constructor(container: HTMLElement, zoom?: (range: Range) => void) {
    this.#container = container;
    this.#zoom = zoom;
  }

  draw(figure: Figure, options: Options): void {
    const { width, height, range, smooth, isFilled } = options;
    this.#figure = figure;
    this.#range = range;
    const lines = figure.lines ?? [];
    const [start, end] = range;
    const columns = lines.map((line) => columnsOf(line, start, end));
    if (smooth > 0) columns.push(...lines.map((line) => columnsOf(smoothed(line, smooth), start, end)));
    const areFew = lines.every((line) => line.parts.reduce((sum, part) => sum + part.length, 0) < width / 8);
    const structure = JSON.stringify([
      lines.map((line) => line.label),
      [figure.x.label, figure.y.label, smooth > 0, isFilled, areFew, colour("--text")],
    ]);
    if (this.#plot && structure === this.#structure) {
      if (this.#plot.width !== width || this.#plot.height !== height) this.#plot.setSize({ width, height });
      this.#plot.setData(joined(columns));
      return;
    }
    this.#plot?.destroy();
    this.#structure = structure;
    this.#plot = new uPlot(this.#options(options, areFew), joined(columns), this.#container);
  }

  destroy(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  #options({ width, height, smooth, isFilled }: Options, areFew: boolean): uPlot.Options {
    const figure = this.#figure as Figure;
    const lines = figure.lines ?? [];
    const value = (x: number | null | undefined): string =>
      x === null || x === undefined ? "–" : this.#y(x);
    const raw = lines.map((line, index): uPlot.Series => ({
      label: line.label,
      stroke: lineColour(index) + (smooth > 0 ? "60" : ""),
      ...(isFilled ? { fill: `${lineColour(index)}30` } : {}),
      width: isFilled ? 1 : 1.25,
      points: { show: areFew && !isFilled && smooth === 0, size: 5, fill: lineColour(index) },
      value: (_, x) => value(x),
    }));
    const means = smooth > 0 ? lines : [];
    const series = means.map((line, index): uPlot.Series => ({
      label: `${line.label}, mean`,
      stroke: lineColour(index),
      width: 2,
      points: { show: false },
      value: (_, x) => value(x),
    }));
    const axis = {
      stroke: colour("--quiet"),
      font: FONT,
      labelFont: FONT,
      labelSize: 18,
      labelGap: 0,
      gap: 6,
    };
    const [grid, border] = [
      { stroke: colour("--grid"), width: 1 },
      { stroke: colour("--line"), width: 1, size: 4 },
    ];
    return {
      width,
      height,
      padding: [8, 12, 0, 0],
      scales: {
        x: { time: false, range: () => this.#range },
        y: { range: () => [(this.#figure as Figure).y.start, (this.#figure as Figure).y.end] },
      },
      axes: [
        {
          ...axis,
          label: figure.x.label,
          size: 28,
          grid,
          ticks: border,
          splits: (plot, _, start, end) => ticks(start, end, plot.bbox.width / devicePixelRatio / 80),
          values: (plot, values) => values.map((x) => number(x, digitsOf(plot, "x"))),
        },
        {
          ...axis,
          label: figure.y.label,
          size: (_, values) => Math.max(...(values ?? []).map((text) => String(text).length), 2) * 7 + 14,
          grid,
          ticks: border,
          splits: (plot, _, start, end) => this.#splits(start, end, plot.bbox.height / devicePixelRatio / 34),
          values: (_, values) => values.map((y) => this.#y(y)),
        },
      ],
      cursor: {
        drag: { x: this.#zoom !== undefined, y: false, setScale: false },
        points: { size: 6 },
        bind: { dblclick: () => () => null },
        // All panels show the same time.
        sync: {
          key: figure.x.label,
          filters: { pub: (type) => type === "mousemove" || type === "mouseleave" },
        },
      },
      legend: { live: true },
      series: [
        { label: figure.x.label || "x", value: (_, x) => (x === null ? "–" : number(x, 9)) },
        ...raw,
        ...series,
      ],
      hooks: {
        setSelect: [
          ({ select, posToVal }) => {
            if (select.width < 4) return;
            this.#zoom?.([posToVal(select.left, "x"), posToVal(select.left + select.width, "x")]);
            this.#plot?.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        draw: [(plot) => this.#markNaN(plot)],
      },
    };
  }

  #splits(start: number, end: number, most: number): number[] {
    const isLog = this.#figure?.y.is_log && end - start >= 2;
    return isLog
      ? ticks(start, end, Math.min(most, end - start)).filter(Number.isInteger)
      : ticks(start, end, most);
  }

  /** A position on the y axis as text. */
  #y(position: number): string {
    const { start, end, is_log } = (this.#figure as Figure).y;
    return is_log ? number(10 ** position, 4) : number(position, digitsFor(start, end));
  }

  /** A mark at the bottom of the plot for each number that is not finite. */
  #markNaN(plot: uPlot): void {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.fillStyle = colour("--alarm");
    for (const line of this.#figure?.lines ?? []) {
      for (const at of line.nan ?? []) {
        const x = plot.valToPos(at, "x", true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top + bbox.height - 8 * ratio);
        ctx.lineTo(x - 4 * ratio, bbox.top + bbox.height);
        ctx.lineTo(x + 4 * ratio, bbox.top + bbox.height);
        ctx.fill();
      }
    }
    ctx.restore();
  }
}

function digitsOf(plot: uPlot, scale: string): number {
  const { min, max } = plot.scales[scale] as uPlot.Scale;
  return digitsFor(min ?? 0, max ?? 1);
}

/** Merges all lines over common x values. */
function joined(columns: Columns[]): uPlot.AlignedData {
  const filled = columns.filter(([xs]) => xs.length > 0);
  if (filled.length === 0) return [[0, 1], ...columns.map(() => [null, null])] as uPlot.AlignedData;
  const [first] = filled[0] as Columns;
  const tables = columns.map(([xs, ys]) => (xs.length > 0 ? [xs, ys] : [[first[0]], [null]]));
  return uPlot.join(tables as uPlot.AlignedData[]) as uPlot.AlignedData;
}

// Lines, drawn by uPlot. The server has reduced them to what fits into the pixels.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Figure, Line } from "./api.ts";

/** Of Okabe and Ito; the same as those of `simrec plot`. */
export const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#808080"];

interface Options {
  width: number;
  height: number;
  /** From 0 to 1. */
  smooth: number;
}

export class LinePlot {
  readonly #container: HTMLElement;
  readonly #zoom: (from: number | undefined, to: number | undefined) => void;
  #plot: uPlot | undefined;

  constructor(container: HTMLElement, zoom: (from: number | undefined, to: number | undefined) => void) {
    this.#container = container;
    this.#zoom = zoom;
  }

  draw(figure: Figure, { width, height, smooth }: Options): void {
    this.#plot?.destroy();
    const lines = figure.lines ?? [];
    const colour = (index: number): string => COLOURS[index % COLOURS.length] as string;
    const smoothed = smooth > 0 ? lines.map((line) => smoothedLine(line, smooth)) : [];
    const style = getComputedStyle(this.#container);
    const axis = { stroke: style.color, grid: { stroke: style.getPropertyValue("--grid") }, ticks: { stroke: style.getPropertyValue("--grid") } };
    const series = [
      ...lines.map((line, index) => ({
        label: line.label,
        stroke: smooth > 0 ? `${colour(index)}55` : colour(index),
        width: 1,
        points: { show: line.parts.every((part) => part.length < 2) },
      })),
      ...smoothed.map((line, index) => ({ label: line.label, stroke: colour(index), width: 2, points: { show: false } })),
    ];
    this.#plot = new uPlot(
      {
        width,
        height,
        scales: { x: { time: false, range: [figure.x.start, figure.x.end] }, y: { range: [figure.y.start, figure.y.end] } },
        axes: [
          { ...axis, label: figure.x.label },
          {
            ...axis,
            label: figure.y.label,
            size: 64,
            values: (_, values) => values.map((value) => number(figure.y.is_log ? 10 ** value : value)),
          },
        ],
        cursor: { drag: { x: true, y: false, setScale: false } },
        legend: { show: lines.length > 1 },
        series: [{ label: figure.x.label }, ...series],
        hooks: {
          setSelect: [
            (plot) => {
              if (plot.select.width < 3) return;
              this.#zoom(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
            },
          ],
          ready: [(plot) => plot.over.addEventListener("dblclick", () => this.#zoom(undefined, undefined))],
        },
      },
      uPlot.join([...lines, ...smoothed].map(columns)) as uPlot.AlignedData,
      this.#container,
    );
  }
}

/** The points of a line as uPlot takes them, with a gap between its parts. */
export function columns(line: Line): uPlot.AlignedData {
  const xs: number[] = [];
  const ys: (number | null)[] = [];
  for (const part of line.parts) {
    const before = xs[xs.length - 1];
    const first = part[0]?.[0];
    if (before !== undefined && first !== undefined) {
      xs.push((before + first) / 2);
      ys.push(null);
    }
    for (const [x, y] of part) {
      xs.push(x);
      ys.push(y);
    }
  }
  return [xs, ys];
}

/** An exponential moving average over the points of each part, without the bias of its beginning. */
export function smoothedLine(line: Line, weight: number): Line {
  const parts = line.parts.map((part) => {
    let sum = 0;
    let total = 0;
    return part.map(([x, y]): [number, number] => {
      sum = sum * weight + y;
      total = total * weight + 1;
      return [x, sum / total];
    });
  });
  return { label: `${line.label}, smoothed`, parts };
}

/** A number with at most six digits. */
export function number(x: number): string {
  return String(Number(x.toPrecision(6)));
}

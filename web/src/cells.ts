// Heat maps, images and rasters: a picture of the server between axes of the page.
import type { Axis, Figure } from "./api.ts";
import { element } from "./element.ts";
import { number } from "./lines.ts";

const LEFT = 64;
const BOTTOM = 44;
const SCALE = 70;

/** Draws the cells of a figure on a canvas in `container`. */
export function drawCells(container: HTMLElement, figure: Figure, size: { width: number; height: number }): void {
  const canvas = element("canvas", { role: "img", "aria-label": `${figure.title}: ${figure.note}` });
  const ratio = window.devicePixelRatio || 1;
  canvas.width = size.width * ratio;
  canvas.height = size.height * ratio;
  canvas.style.width = `${size.width}px`;
  canvas.style.height = `${size.height}px`;
  container.replaceChildren(canvas);
  const context = canvas.getContext("2d");
  const cells = figure.cells;
  if (!context || !cells) return;
  context.scale(ratio, ratio);
  const right = size.width - (cells.scale ? SCALE : 8);
  const bottom = size.height - BOTTOM;
  const picture = new Image();
  picture.addEventListener("load", () => {
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, LEFT, 6, right - LEFT, bottom - 6);
  });
  picture.src = `data:image/png;base64,${cells.picture}`;
  context.fillStyle = getComputedStyle(container).color;
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  for (const tick of ticks(figure.x, (right - LEFT) / 80)) {
    const x = LEFT + ((tick - figure.x.start) / (figure.x.end - figure.x.start)) * (right - LEFT);
    context.fillText(number(tick), x, bottom + 16);
  }
  context.fillText(figure.x.label, (LEFT + right) / 2, size.height - 8);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of ticks(figure.y, (bottom - 6) / 30)) {
    const y = bottom - ((tick - figure.y.start) / (figure.y.end - figure.y.start)) * (bottom - 6);
    context.fillText(number(tick), LEFT - 6, y);
  }
  if (cells.scale) {
    context.textAlign = "left";
    context.fillText(number(cells.scale.end), right + 8, 14);
    context.fillText(number(cells.scale.start), right + 8, bottom - 6);
    context.fillText(cells.scale.label, right + 8, (bottom + 6) / 2);
  }
}

/** Round numbers on an axis, about `count`. */
export function ticks(axis: Axis, count: number): number[] {
  const [start, end] = axis.start < axis.end ? [axis.start, axis.end] : [axis.end, axis.start];
  const least = (end - start) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
  if (!step || !Number.isFinite(step)) return [start, end];
  const found: number[] = [];
  for (let tick = Math.ceil(start / step) * step; tick <= end; tick += step) found.push(Math.abs(tick) < step * 1e-9 ? 0 : tick);
  return found;
}

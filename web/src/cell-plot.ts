// Heat maps, images and rasters: the server draws a picture, and the page its axes.
import type { Axis, Figure } from "./api.ts";
import { element } from "./element.ts";
import { digitsFor, number, ticks } from "./numbers.ts";
import type { Range } from "./range.ts";
import { colour, isDark } from "./theme.ts";
import { VIRIDIS } from "./viridis.ts";

interface Options {
  width: number;
  height: number;
  /** The aspect ratio of the picture; by default, that of the available space. */
  aspect: number | undefined;
  /** Whether the picture consists of dots on the background, which are light in dark mode. */
  isOnGround: boolean;
}

/** The place of the picture on the canvas, in pixels of the page. */
interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

const FONT = "12px system-ui, sans-serif";
const SCALE_WIDTH = 76;
const BOTTOM = 42;

export class CellPlot {
  readonly #canvas = element("canvas", { role: "img" });
  readonly #selection = element("div", { class: "selection", hidden: true });
  readonly #hover: (text: string) => void;
  #figure: Figure | undefined;
  #box: Box = { left: 0, top: 0, width: 1, height: 1 };
  #drawn = 0;

  /** Draws into a container. Calls `zoom` with the range that the user selects. */
  constructor(container: HTMLElement, hover: (text: string) => void, zoom?: (range: Range) => void) {
    this.#hover = hover;
    container.append(this.#canvas, this.#selection);
    this.#canvas.addEventListener("pointermove", (event) => this.#tell(event));
    this.#canvas.addEventListener("pointerleave", () => hover(""));
    if (zoom) this.#canvas.addEventListener("pointerdown", (event) => this.#drag(event, zoom));
  }

  /** The number of cells that fit into a picture of this size. */
  static room(width: number, height: number): { columns: number; rows: number } {
    const ratio = devicePixelRatio;
    const side = (length: number, margin: number): number =>
      Math.max(Math.round((length - margin) * ratio), 16);
    return { columns: side(width, 64 + SCALE_WIDTH), rows: side(height, BOTTOM + 8) };
  }

  async draw(figure: Figure, options: Options): Promise<void> {
    const drawn = ++this.#drawn;
    const picture = new Image();
    picture.src = `data:image/png;base64,${figure.cells?.picture ?? ""}`;
    await picture.decode();
    // A newer one may have been drawn meanwhile.
    if (drawn === this.#drawn) this.#paint(figure, picture, options);
  }

  destroy(): void {
    this.#drawn++;
    this.#canvas.remove();
    this.#selection.remove();
  }

  #paint(figure: Figure, picture: HTMLImageElement, { width, height, aspect, isOnGround }: Options): void {
    this.#figure = figure;
    const ratio = devicePixelRatio;
    const canvas = this.#canvas;
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
    canvas.setAttribute("aria-label", `${figure.title}: ${figure.note}`);
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    context.scale(ratio, ratio);
    context.font = FONT;
    const labels = ticks(figure.y.start, figure.y.end, 5).map((y) => label(figure.y, y));
    const left = Math.max(...labels.map((text) => context.measureText(text).width)) + 36;
    const right = figure.cells?.scale ? SCALE_WIDTH : 16;
    this.#box = boxOf({ left, top: 8, width: width - left - right, height: height - BOTTOM - 8 }, aspect);
    const box = this.#box;
    context.imageSmoothingEnabled = false;
    if (isOnGround && isDark()) context.filter = "invert(1) hue-rotate(180deg) brightness(1.8)";
    context.drawImage(picture, box.left, box.top, box.width, box.height);
    context.filter = "none";
    context.strokeStyle = colour("--line");
    context.strokeRect(box.left - 0.5, box.top - 0.5, box.width + 1, box.height + 1);
    this.#paintAxes(context, figure, box.left - left + 10);
    if (figure.cells?.scale) paintScale(context, figure.cells.scale, this.#box);
  }

  #paintAxes(context: CanvasRenderingContext2D, { x, y }: Figure, labelAt: number): void {
    const { left, top, width, height } = this.#box;
    context.fillStyle = colour("--quiet");
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of ticks(x.start, x.end, width / 64)) {
      const at = left + part(x, tick) * width;
      context.fillRect(at - 0.5, top + height, 1, 4);
      context.fillText(label(x, tick), at, top + height + 7);
    }
    context.fillText(x.label, left + width / 2, top + height + 24);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of ticks(y.start, y.end, height / 34)) {
      const at = top + (1 - part(y, tick)) * height;
      context.fillRect(left - 4, at - 0.5, 4, 1);
      context.fillText(label(y, tick), left - 8, at);
    }
    context.save();
    context.translate(labelAt, top + height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(y.label, 0, 0);
    context.restore();
  }

  /** The position of a pointer in the picture, from left and bottom. */
  #at(event: PointerEvent): [number, number] {
    const { left, top, width, height } = this.#box;
    return [(event.offsetX - left) / width, 1 - (event.offsetY - top) / height];
  }

  #tell(event: PointerEvent): void {
    const figure = this.#figure;
    const [right, up] = this.#at(event);
    if (!figure || right < 0 || right > 1 || up < 0 || up > 1) return this.#hover("");
    const named = (axis: Axis, at: number): string =>
      `${axis.label || "index"} ${label(axis, axis.start + (axis.end - axis.start) * at)}`;
    this.#hover(`${named(figure.x, right)}, ${named(figure.y, up)}`);
  }

  /** Lets the user select a range of the x axis. */
  #drag(down: PointerEvent, zoom: (range: Range) => void): void {
    const figure = this.#figure;
    const [start] = this.#at(down);
    if (!figure || down.button !== 0 || start < 0 || start > 1) return;
    this.#canvas.setPointerCapture(down.pointerId);
    let range: Range | undefined;
    const move = (event: PointerEvent): void => {
      const end = Math.min(Math.max(this.#at(event)[0], 0), 1);
      const [low, high] = [Math.min(start, end), Math.max(start, end)];
      const { left, top, width, height } = this.#box;
      range =
        (high - low) * width < 4
          ? undefined
          : ([low, high].map((at) => figure.x.start + (figure.x.end - figure.x.start) * at) as Range);
      const style = this.#selection.style;
      [style.left, style.top] = [`${left + low * width}px`, `${top}px`];
      [style.width, style.height] = [`${(high - low) * width}px`, `${height}px`];
      this.#selection.hidden = false;
    };
    const end = (): void => {
      this.#canvas.removeEventListener("pointermove", move);
      this.#selection.hidden = true;
      if (range) zoom(range);
    };
    this.#canvas.addEventListener("pointermove", move);
    this.#canvas.addEventListener("pointerup", end, { once: true });
  }
}

function part(axis: Axis, x: number): number {
  return (x - axis.start) / (axis.end - axis.start);
}

function label(axis: Axis, x: number): string {
  return number(axis.is_log ? 10 ** x : x, digitsFor(axis.start, axis.end));
}

/** The largest part of the available space with the shape of the picture, unless that is a narrow strip. */
function boxOf(room: Box, aspect: number | undefined): Box {
  if (!aspect || aspect < 1 / 8 || aspect > 8) return room;
  const width = Math.min(room.width, room.height * aspect);
  const height = width / aspect;
  return { left: room.left + (room.width - width) / 2, top: room.top, width, height };
}

function paintScale(
  context: CanvasRenderingContext2D,
  scale: { label: string; start: number; end: number },
  box: Box,
): void {
  const left = box.left + box.width + 12;
  const gradient = context.createLinearGradient(0, box.top + box.height, 0, box.top);
  VIRIDIS.forEach((stop, index) => gradient.addColorStop(index / (VIRIDIS.length - 1), stop));
  context.fillStyle = gradient;
  context.fillRect(left, box.top, 10, box.height);
  context.fillStyle = colour("--quiet");
  context.textAlign = "left";
  context.textBaseline = "middle";
  const digits = Math.min(digitsFor(scale.start, scale.end), 5);
  const most = Math.max(box.height / 40, 2);
  for (const tick of ticks(scale.start, scale.end, most)) {
    const at = box.top + (1 - (tick - scale.start) / (scale.end - scale.start)) * box.height;
    if (Number.isFinite(at)) context.fillText(number(tick, digits), left + 15, Math.max(at, box.top + 5));
  }
  context.textBaseline = "top";
  context.fillText(scale.label, left, box.top + box.height + 24);
}

// Lines, histograms, heat maps and rasters.
import { ask, type Figure } from "../api.ts";
import { CellPlot } from "../cell-plot.ts";
import { choice, element, toggle } from "../element.ts";
import { isColoured, traceKeys, traceList } from "../forms.ts";
import { LinePlot } from "../line-plot.ts";
import { number } from "../numbers.ts";
import type { Content, Frame } from "../panel.ts";
import { pressed, rounded, type Range } from "../range.ts";
import { isDark } from "../theme.ts";

const HEIGHT = 280;
const SMOOTHING = [
  [0, "Raw"],
  [1, "Mean, 1 %"],
  [3, "Mean, 3 %"],
  [10, "Mean, 10 %"],
  [30, "Mean, 30 %"],
] as const;

export class FigureContent implements Content {
  protected readonly frame: Frame;
  readonly #plot: HTMLElement;
  readonly #reset: HTMLButtonElement;
  #drawer: LinePlot | CellPlot | undefined;
  #figure: Figure | undefined;
  /** The range of the x axis without zoom. */
  #full: Range = [0, 1];

  constructor(frame: Frame) {
    this.frame = frame;
    this.#plot = element("div", {
      class: "plot",
      tabindex: 0,
      role: "group",
      "aria-label": "Plot",
      title: this.canZoom ? "Drag to zoom, double-click to reset; keys: + − ← → 0" : "",
      ondblclick: () => this.#zoom(undefined),
      onkeydown: (event) => this.#press(event as KeyboardEvent),
    });
    this.#reset = element(
      "button",
      { type: "button", title: "Show everything (double-click)", onclick: () => this.#zoom(undefined) },
      "Reset zoom",
    );
    this.#reset.hidden = true;
    frame.body.append(this.#plot);
  }

  protected get canZoom(): boolean {
    const { form } = this.frame.view;
    return form !== "histogram" && form !== "image";
  }

  /** The aspect ratio of a picture, if it is fixed. */
  protected get aspect(): number | undefined {
    return undefined;
  }

  /** The parameters of a request, except the size. */
  protected parameters(): Record<string, string | number | boolean | undefined | (string | number)[]> {
    const { form, from, to, log, index, low, high } = this.frame.view;
    return { key: this.frame.view.keys, form, from, to, log, index, low, high };
  }

  tools(): HTMLElement[] {
    const { view, node } = this.frame;
    const tools: HTMLElement[] = [];
    const len = node?.shape?.[1];
    const isOfOne = view.keys.every((key) => key.startsWith(node?.key ?? ""));
    if (view.form === "lines" && node?.record_kind === "array" && node.shape?.length === 2 && len && isOfOne)
      tools.push(this.#elements(node.key, len));
    if (view.form === "lines") {
      tools.push(
        choice("Smoothing: the mean over a part of the x axis", [...SMOOTHING], view.smooth ?? 0, (smooth) =>
          this.frame.set({ smooth: smooth || undefined }),
        ),
      );
    }
    if (view.form === "lines" || view.form === "histogram") {
      tools.push(
        toggle("log", "Logarithmic y axis", view.log === true, (log) =>
          this.frame.set({ log: log || undefined }),
        ),
      );
    }
    if (this.canZoom && node?.coordinate && view.form !== "heat-map") {
      const byIndex = (index: boolean): void =>
        this.frame.set({ index: index || undefined, from: undefined, to: undefined });
      tools.push(toggle("index", "x axis by index instead of the coordinate", view.index === true, byIndex));
    }
    if (view.form === "heat-map" || (view.form === "image" && !(node && isColoured(node)))) {
      tools.push(
        toggle("hold scale", "Keep the scale of colours as it is now", view.low !== undefined, (isHeld) =>
          this.#hold(isHeld),
        ),
      );
    }
    return [...tools, this.#reset];
  }

  async refresh(signal: AbortSignal): Promise<void> {
    const width = this.frame.body.clientWidth;
    const recording = this.frame.view.recordings;
    const room = this.#isOfLines
      ? { columns: Math.max(Math.round((width - 70) * devicePixelRatio), 50) }
      : CellPlot.room(width, HEIGHT);
    const figure = await ask<Figure>("figure", { recording, ...this.parameters(), ...room }, signal);
    const { from, to } = this.frame.view;
    if (from === undefined && to === undefined) this.#full = [figure.x.start, figure.x.end];
    this.#figure = figure;
    this.redraw();
    const isZoomed = from !== undefined || to !== undefined;
    const isAlarming = figure.lines?.some((line) => line.nan?.length) || / NaN/.test(figure.note);
    this.#reset.hidden = !isZoomed;
    this.frame.alarm(isAlarming ? "NaN" : "");
  }

  redraw(): void {
    const figure = this.#figure;
    if (!figure) return;
    // In dark mode, dots are light.
    const drawn = isDark() ? figure.note.replace("the darker a dot", "the brighter a dot") : figure.note;
    const note = [drawn, this.#smoothing()].filter(Boolean).join("; ");
    this.frame.say(note);
    this.#plot.setAttribute("aria-label", `Plot of ${figure.title}: ${note}`);
    const { view } = this.frame;
    const width = this.frame.body.clientWidth;
    if (figure.lines) {
      if (!(this.#drawer instanceof LinePlot)) {
        this.#drawer?.destroy();
        this.#drawer = new LinePlot(this.#plot, this.canZoom ? (range) => this.#zoom(range) : undefined);
      }
      const range = this.#range();
      const smooth = ((view.smooth ?? 0) / 100) * (range[1] - range[0]);
      this.#drawer.draw(figure, {
        width,
        height: HEIGHT,
        range,
        smooth,
        isFilled: view.form === "histogram",
      });
    } else {
      if (!(this.#drawer instanceof CellPlot)) {
        this.#drawer?.destroy();
        this.#drawer = new CellPlot(
          this.#plot,
          (text) => this.frame.hover(text),
          this.canZoom ? (range) => this.#zoom(range) : undefined,
        );
      }
      void this.#drawer.draw(figure, {
        width,
        height: HEIGHT,
        aspect: this.aspect,
        isOnGround: view.form === "raster",
      });
    }
  }

  destroy(): void {
    this.#drawer?.destroy();
  }

  get #isOfLines(): boolean {
    return this.frame.view.form === "lines" || this.frame.view.form === "histogram";
  }

  /** The current range of the x axis. */
  #range(): Range {
    const { x } = this.#figure as Figure;
    const { from, to } = this.frame.view;
    return this.canZoom ? [from ?? x.start, to ?? x.end] : [x.start, x.end];
  }

  #zoom(range: Range | undefined): void {
    if (!this.canZoom || (!range && this.frame.view.from === undefined && this.frame.view.to === undefined))
      return;
    const [from, to] = range ? rounded(range) : [];
    this.frame.set({ from, to });
  }

  #hold(isHeld: boolean): void {
    const scale = isHeld ? this.#figure?.cells?.scale : undefined;
    this.frame.set({ low: scale?.start, high: scale?.end });
  }

  #press(event: KeyboardEvent): void {
    if (!this.canZoom || !this.#figure || event.ctrlKey || event.altKey || event.metaKey) return;
    // A link may show a part before the whole was loaded.
    const full: Range = [
      Math.min(this.#full[0], this.#range()[0]),
      Math.max(this.#full[1], this.#range()[1]),
    ];
    const range = pressed(event.key, this.#range(), full);
    if (range === null) return;
    event.preventDefault();
    this.#zoom(range);
  }

  #smoothing(): string {
    const { smooth, form } = this.frame.view;
    if (!smooth || form !== "lines" || !this.#figure) return "";
    const [start, end] = this.#range();
    const kind = this.#figure.y.is_log ? "geometric mean" : "mean";
    const { label } = this.#figure.x;
    const units = /\[(.*)\]$/.exec(label)?.[1] ?? (label === "index" ? "records" : "");
    return `thick: moving ${kind} over ${number(((end - start) * smooth) / 100, 3)} ${units}; thin: the records`;
  }

  /** An input for the list of elements that are drawn as lines. */
  #elements(key: string, len: number): HTMLElement {
    const input = element("input", {
      type: "text",
      class: "elements",
      value: traceList(this.frame.view.keys),
      placeholder: "all elements",
      "aria-label": `Elements, from 0 to ${len - 1}, such as 3, 7, 10-12`,
      title: `Elements, from 0 to ${len - 1}, such as 3, 7, 10-12`,
      onchange: () => {
        const keys = traceKeys(key, input.value, len);
        input.setCustomValidity(
          keys ? "" : `Give numbers from 0 to ${len - 1}, at most 64, such as 3, 7, 10-12`,
        );
        if (keys) this.frame.set({ keys: keys.length > 0 ? keys : [key] }, true);
        else input.reportValidity();
      },
    });
    return input;
  }
}

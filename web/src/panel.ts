// A panel: series of recordings in one plot, which the user zooms, and which follows new records.
import { ask, type Figure } from "./api.ts";
import { drawCells } from "./cells.ts";
import { element } from "./element.ts";
import { LinePlot } from "./lines.ts";
import type { Form, Panel as View } from "./view.ts";

const HEIGHT = 260;

/** What a panel tells the page. */
export interface Owner {
  changed(): void;
  close(panel: PlotPanel): void;
}

export class PlotPanel {
  readonly view: View;
  readonly root: HTMLElement;
  readonly #owner: Owner;
  readonly #title = element("h2");
  readonly #note = element("p", { class: "note", role: "status" });
  readonly #plot = element("div", { class: "plot", tabindex: 0 });
  #lines: LinePlot | undefined;
  #request: AbortController | undefined;
  #isVisible = false;
  #isStale = true;

  constructor(view: View, owner: Owner) {
    this.view = view;
    this.#owner = owner;
    this.root = element(
      "section",
      { class: "panel", "aria-label": view.keys.join(", ") },
      element("header", {}, this.#title, this.#controls()),
      this.#plot,
      this.#note,
    );
    // What is off the screen asks for nothing.
    new IntersectionObserver((entries) => {
      this.#isVisible = entries.some((entry) => entry.isIntersecting);
      if (this.#isVisible && this.#isStale) void this.load();
    }).observe(this.root);
    new ResizeObserver(() => this.refresh()).observe(this.#plot);
  }

  /** Draws again with what the recordings hold now, when the panel is on the screen. */
  refresh(): void {
    this.#isStale = true;
    if (this.#isVisible) void this.load();
  }

  async load(): Promise<void> {
    this.#isStale = false;
    this.#request?.abort();
    const request = (this.#request = new AbortController());
    const { recordings, keys, form, from, to, log, index } = this.view;
    const width = Math.max(this.#plot.clientWidth, 200);
    try {
      const figure = await ask<Figure>(
        "figure",
        { recording: recordings, key: keys, form, from, to, log, index, columns: Math.min(width, 4000), rows: HEIGHT },
        request.signal,
      );
      if (this.#request === request) this.#draw(figure, width);
    } catch (error) {
      if (!request.signal.aborted) this.#note.textContent = (error as Error).message;
    }
  }

  #draw(figure: Figure, width: number): void {
    this.#title.textContent = figure.title;
    this.#note.textContent = figure.note;
    if (figure.lines) {
      if (!this.#lines) {
        this.#plot.replaceChildren();
        this.#lines = new LinePlot(this.#plot, (from, to) => this.#zoom(from, to));
      }
      this.#lines.draw(figure, { width, height: HEIGHT, smooth: this.view.smooth ?? 0 });
    } else {
      this.#lines = undefined;
      drawCells(this.#plot, figure, { width, height: HEIGHT });
    }
  }

  #zoom(from: number | undefined, to: number | undefined): void {
    this.#set({ from, to });
  }

  #set(change: { [Name in keyof View]?: View[Name] | undefined }): void {
    for (const [name, value] of Object.entries(change)) {
      if (value === undefined || value === false) delete (this.view as unknown as Record<string, unknown>)[name];
      else Object.assign(this.view, { [name]: value });
    }
    this.#owner.changed();
    this.refresh();
  }

  #controls(): HTMLElement {
    const forms: [Form | "", string][] = [
      ["", "Automatic"],
      ["lines", "Lines"],
      ["heat-map", "Heat map"],
      ["image", "Image"],
      ["raster", "Raster"],
      ["histogram", "Histogram"],
    ];
    const select = element("select", {
      "aria-label": "Form of the plot",
      onchange: () => this.#set({ form: (select.value || undefined) as Form | undefined }),
    });
    for (const [value, label] of forms) select.append(element("option", { value, selected: value === (this.view.form ?? "") }, label));
    const log = element("button", { type: "button", "aria-pressed": Boolean(this.view.log) ? "true" : "false", onclick: () => {
      this.#set({ log: !this.view.log });
      log.setAttribute("aria-pressed", String(Boolean(this.view.log)));
    } }, "Log");
    const smooth = element("input", {
      type: "range", min: 0, max: 0.99, step: 0.01, value: this.view.smooth ?? 0, "aria-label": "Smoothing", title: "Smoothing",
      onchange: () => this.#set({ smooth: Number(smooth.value) || undefined }),
    });
    return element(
      "div",
      { class: "controls" },
      select,
      log,
      smooth,
      element("button", { type: "button", title: "Show everything", onclick: () => this.#zoom(undefined, undefined) }, "All"),
      element("button", { type: "button", "aria-label": "Close the panel", onclick: () => this.#owner.close(this) }, "×"),
    );
  }
}

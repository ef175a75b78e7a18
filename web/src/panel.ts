// A panel: its frame, its tools, and when it sends requests to the server.
import type { Change, Node, Recording } from "./api.ts";
import { DetailsContent } from "./panels/details.ts";
import { FigureContent } from "./panels/figure.ts";
import { ImageContent } from "./panels/image.ts";
import { RecordsContent } from "./panels/records.ts";
import { TableContent } from "./panels/table.ts";
import { choice, element, toggle } from "./element.ts";
import { formsOf, NAMES, traceKeys } from "./forms.ts";
import { keyOf, type Form, type View } from "./view.ts";

/** The interface of the page for a panel. */
export interface Owner {
  readonly recordings: Recording[];
  /** The server's description of a key; undefined if there is no node. */
  node(recording: number, key: string): Promise<Node | undefined>;
  /** The view of a panel has changed. `isStep` adds a step to the history of the browser. */
  changed(isStep: boolean): void;
  close(panel: Panel): void;
  move(panel: Panel, by: number): void;
  select(panel: Panel): void;
}

/** The interface of a panel for its contents. */
export interface Frame {
  readonly view: View;
  readonly node: Node | undefined;
  readonly owner: Owner;
  readonly body: HTMLElement;
  /** Changes the view, and sends a new request. */
  set(change: Partial<View>, isStep?: boolean): void;
  /** Displays how much of the data is shown. */
  say(note: string): void;
  /** Displays the data under the pointer. */
  hover(text: string): void;
  alarm(text: string): void;
}

/** The contents of a panel. */
export interface Content {
  /** Its controls. */
  tools(): HTMLElement[];
  /** Requests the data, and draws it. */
  refresh(signal: AbortSignal): Promise<void>;
  /** Draws again after a change of size or theme. */
  redraw(): void;
  destroy(): void;
}

export class Panel implements Frame {
  readonly view: View;
  readonly owner: Owner;
  readonly root: HTMLElement;
  readonly body = element("div", { class: "body" });
  node: Node | undefined;
  readonly #title = element("h2", {});
  readonly #alarm = element("span", { class: "alarm", hidden: true });
  readonly #tools = element("div", { class: "tools" });
  readonly #error = element("p", { class: "error", role: "alert", hidden: true });
  readonly #note = element("p", { class: "note" });
  readonly #hover = element("p", { class: "hover" });
  readonly #resized = new ResizeObserver(() => this.#resize());
  #content: Content | undefined;
  #request: AbortController | undefined;
  #isStale = false;
  #isClosed = false;
  #width = 0;

  constructor(view: View, owner: Owner) {
    this.view = view;
    this.owner = owner;
    this.root = element(
      "section",
      {
        class: "panel",
        "aria-busy": "true",
        onpointerdown: () => owner.select(this),
        onfocusin: () => owner.select(this),
      },
      element("header", {}, this.#title, this.#alarm, this.#buttons()),
      this.#tools,
      this.#error,
      this.body,
      element("footer", {}, this.#note, this.#hover),
    );
    void this.#start();
  }

  set(change: Partial<View>, isStep = false): void {
    Object.assign(this.view, change);
    if (change.form || change.keys || change.recordings) this.#build();
    this.owner.changed(isStep);
    this.#request?.abort();
    void this.refresh();
  }

  /** Adds a line to the plot, if it consists of lines. */
  add(recording: number, key: string): boolean {
    if (this.view.form !== "lines" && this.view.form !== "histogram") return false;
    const keys = this.view.keys.includes(key) ? this.view.keys : [...this.view.keys, key];
    const recordings = this.view.recordings.includes(recording)
      ? this.view.recordings
      : [...this.view.recordings, recording];
    this.set({ keys, recordings }, true);
    return true;
  }

  /** Sends a new request. During a request, another one follows afterwards. */
  async refresh(): Promise<void> {
    this.#isStale = true;
    if (this.#request) return;
    this.root.setAttribute("aria-busy", "true");
    while (this.#isStale && !this.#isClosed && this.#content) {
      this.#isStale = false;
      this.#request = new AbortController();
      try {
        await this.#content.refresh(this.#request.signal);
        this.#fail("");
      } catch (error) {
        if (!this.#request.signal.aborted) this.#fail((error as Error).message);
      }
    }
    this.#request = undefined;
    this.root.setAttribute("aria-busy", "false");
  }

  /** Sends a new request if the shown data has changed. */
  update(before: Change[], now: Change[]): void {
    const isNew = this.view.recordings.some((recording) => {
      const [was, is] = [before[recording], now[recording]];
      const lengths = this.view.keys.map(
        (key) => [was?.lengths[keyOf(key)], is?.lengths[keyOf(key)]] as const,
      );
      // For a value or a table, only commits indicate changes, if they are known.
      const areAllSeries = lengths.length > 0 && lengths.every(([, length]) => typeof length === "number");
      if (areAllSeries) return lengths.some(([before, now]) => before !== now);
      return was?.version !== is?.version || is?.version === null;
    });
    if (isNew) void this.refresh();
  }

  redraw(): void {
    this.#content?.redraw();
  }

  say(note: string): void {
    this.#note.textContent = note;
  }

  hover(text: string): void {
    this.#hover.textContent = text;
  }

  alarm(text: string): void {
    this.#alarm.textContent = text;
    this.#alarm.hidden = !text;
  }

  destroy(): void {
    this.#isClosed = true;
    this.#request?.abort();
    this.#resized.disconnect();
    this.#content?.destroy();
    this.root.remove();
  }

  async #start(): Promise<void> {
    const [key] = this.view.keys;
    try {
      if (key !== undefined) this.node = await this.owner.node(this.view.recordings[0] ?? 0, keyOf(key));
    } catch (error) {
      this.#fail((error as Error).message);
    }
    if (this.#isClosed) return;
    this.#build();
    this.#resized.observe(this.body);
    await this.refresh();
  }

  #build(): void {
    const { view } = this;
    this.#content?.destroy();
    this.body.replaceChildren();
    this.alarm("");
    this.say("");
    this.hover("");
    this.#content = contentOf(this);
    const [first = ""] = view.keys;
    const others = view.keys.length > 1 ? ` and ${view.keys.length - 1} more` : "";
    const title =
      view.form === "table" ? NAMES.table : view.keys.length < 4 ? view.keys.join(", ") : `${first}${others}`;
    this.#title.textContent = title;
    this.#title.title = view.keys.join(", ");
    this.root.setAttribute("aria-label", `${NAMES[view.form]}: ${title || NAMES.table}`);
    this.root.dataset["form"] = view.form;
    this.root.classList.toggle("wide", view.wide === true);
    this.#tools.replaceChildren(...this.#common(), ...this.#content.tools());
  }

  #resize(): void {
    if (this.body.clientWidth === this.#width) return;
    this.#width = this.body.clientWidth;
    this.redraw();
    void this.refresh();
  }

  #fail(message: string): void {
    this.#error.textContent = message;
    this.#error.hidden = !message;
  }

  #buttons(): HTMLElement {
    const button = (label: string, text: string, click: () => void): HTMLElement =>
      element(
        "button",
        { type: "button", class: "icon", "aria-label": label, title: label, onclick: click },
        text,
      );
    const widen = (): void => {
      this.view.wide = !this.view.wide;
      this.root.classList.toggle("wide", this.view.wide);
      this.owner.changed(false);
    };
    return element(
      "div",
      { class: "buttons" },
      button("Move up", "↑", () => this.owner.move(this, -1)),
      button("Move down", "↓", () => this.owner.move(this, 1)),
      button("Whole width", "↔", widen),
      button("Close", "×", () => this.owner.close(this)),
    );
  }

  /** The lists of forms and recordings. */
  #common(): HTMLElement[] {
    const { view, node, owner } = this;
    const tools: HTMLElement[] = [];
    if (node && view.form !== "table") {
      const forms =
        view.keys.length > 1 && view.keys.some((key) => keyOf(key) !== node.key)
          ? (["lines", "histogram"] as Form[])
          : formsOf(node);
      if (forms.length > 1)
        tools.push(
          choice(
            "Form",
            forms.map((form) => [form, NAMES[form]] as const),
            view.form,
            (form) => this.#changeForm(form),
          ),
        );
    }
    if (owner.recordings.length < 2) return tools;
    if (view.form !== "lines" && view.form !== "histogram") {
      const options = owner.recordings.map(({ name }, index) => [index, name] as const);
      return [
        ...tools,
        choice("Recording", options, view.recordings[0] ?? 0, (recording) =>
          this.set({ recordings: [recording] }, true),
        ),
      ];
    }
    const toggles = owner.recordings.map(({ name, location }, index) =>
      toggle(name, location, view.recordings.includes(index), (isShown) => {
        const others = view.recordings.filter((recording) => recording !== index);
        const recordings = isShown ? [...others, index].sort((a, b) => a - b) : others;
        this.set({ recordings: recordings.length > 0 ? recordings : [index] }, true);
      }),
    );
    return [
      ...tools,
      element("span", { class: "group", role: "group", "aria-label": "Recordings" }, ...toggles),
    ];
  }

  #changeForm(form: Form): void {
    const { view, node } = this;
    const change: Partial<View> = { form, low: undefined, high: undefined };
    const [, len, ...more] = node?.shape ?? [];
    if (node && node.record_kind === "array" && len !== undefined && more.length === 0) {
      const some = len > 8 ? [0, 1, 2, 3].map((part) => Math.floor((part * len) / 4)).join(", ") : "";
      change.keys = form === "lines" && some ? (traceKeys(node.key, some, len) ?? view.keys) : [node.key];
    }
    // The x axis changes.
    if (form === "histogram" || view.form === "histogram")
      Object.assign(change, { from: undefined, to: undefined });
    this.set(change, true);
  }
}

function contentOf(panel: Panel): Content {
  switch (panel.view.form) {
    case "table":
      return new TableContent(panel);
    case "details":
      return new DetailsContent(panel);
    case "records":
      return new RecordsContent(panel);
    case "image":
      return new ImageContent(panel);
    default:
      return new FigureContent(panel);
  }
}

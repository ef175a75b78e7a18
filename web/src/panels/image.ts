// Records of two dimensions as images, and slices of records of three dimensions.
import { ask, type Records } from "../api.ts";
import { choice, element } from "../element.ts";
import { imageKey, isColoured } from "../forms.ts";
import { count, short } from "../numbers.ts";
import type { Frame } from "../panel.ts";
import { FigureContent } from "./figure.ts";

/** The minimum time for which an image is shown during playback. */
const STEP_MS = 80;

export class ImageContent extends FigureContent {
  readonly #slider: HTMLInputElement;
  readonly #play: HTMLButtonElement;
  readonly #position = element("output", { class: "position" });
  #isPlaying = false;

  constructor(frame: Frame) {
    super(frame);
    this.#slider = element("input", {
      type: "range",
      min: 0,
      "aria-label": "Record",
      oninput: () => {
        this.#pause();
        this.#show(Number(this.#slider.value));
      },
    });
    this.#play = element("button", {
      type: "button",
      class: "play",
      onclick: () => (this.#isPlaying ? this.#pause() : void this.#start()),
    });
    this.#pause();
    frame.body.append(element("div", { class: "player" }, this.#play, this.#slider, this.#position));
  }

  /** Pixels are square. */
  protected override get aspect(): number | undefined {
    const { node, view } = this.frame;
    const [, ...shape] = node?.shape ?? [];
    const isSlice = shape.length > 2 && node && !isColoured(node);
    const [rows, columns] = isSlice ? shape.filter((_, axis) => axis !== (view.axis ?? 0)) : shape;
    return rows && columns ? columns / rows : undefined;
  }

  protected override parameters(): ReturnType<FigureContent["parameters"]> {
    const { node, view } = this.frame;
    return {
      ...super.parameters(),
      from: undefined,
      to: undefined,
      key: node ? imageKey(node, view) : view.keys,
      recording: view.recordings[0],
    };
  }

  override tools(): HTMLElement[] {
    const { node, view } = this.frame;
    const [, ...shape] = node?.shape ?? [];
    if (!node || shape.length < 3 || isColoured(node)) return super.tools();
    const axis = view.axis ?? 0;
    const most = (shape[axis] ?? 1) - 1;
    const at = element("input", {
      type: "range",
      min: 0,
      max: most,
      value: view.slice ?? Math.floor((most + 1) / 2),
      "aria-label": "Position of the slice",
      oninput: () => this.frame.set({ slice: Number(at.value) }),
    });
    const axes = shape.map((len, index) => [index, `Axis ${index} (${len})`] as const);
    const across = choice("Axis of the slice", axes, axis, (axis) => {
      const len = shape[axis] ?? 1;
      at.max = String(len - 1);
      at.value = String(Math.floor(len / 2));
      this.frame.set({ axis, slice: undefined });
    });
    return [across, at, ...super.tools()];
  }

  override async refresh(signal: AbortSignal): Promise<void> {
    const { node, view } = this.frame;
    if (node && !this.#isPlaying)
      node.shape = (await this.frame.owner.node(view.recordings[0] ?? 0, node.key))?.shape ?? [];
    const len = node?.shape?.[0] ?? 0;
    this.#slider.max = String(Math.max(len - 1, 0));
    this.#slider.value = String(view.record ?? len - 1);
    if (len === 0) {
      this.frame.say("no record yet");
      return;
    }
    await Promise.all([super.refresh(signal), this.#tell(len, signal)]);
  }

  override destroy(): void {
    this.#pause();
    super.destroy();
  }

  /** Displays the index of the record and its coordinate. */
  async #tell(len: number, signal: AbortSignal): Promise<void> {
    const { node, view } = this.frame;
    const index = Math.min(view.record ?? len - 1, len - 1);
    let text = `record ${count(index)} of ${count(len)}`;
    const name = node?.coordinate?.name;
    if (node && name) {
      const group = node.key.slice(0, node.key.lastIndexOf("/") + 1);
      const { records } = await ask<Records>(
        "records",
        { recording: view.recordings[0], key: group + name, first: index, count: 1 },
        signal,
      );
      if (records[0]) text += ` · ${name} ${short(records[0].value)}`;
    }
    this.#position.textContent = text;
  }

  /** At the last record, the view follows the newest one. */
  #show(record: number): void {
    this.frame.set({ record: record >= Number(this.#slider.max) ? undefined : record });
  }

  #pause(): void {
    this.#isPlaying = false;
    this.#play.textContent = "Play";
    this.#play.setAttribute("aria-pressed", "false");
  }

  async #start(): Promise<void> {
    this.#isPlaying = true;
    this.#play.textContent = "Stop";
    this.#play.setAttribute("aria-pressed", "true");
    if (this.frame.view.record === undefined) this.#show(0);
    while (this.#isPlaying) {
      await new Promise((done) => setTimeout(done, STEP_MS));
      // Show the next one only after this one is displayed.
      if (!this.#isPlaying || this.frame.body.parentElement?.ariaBusy === "true") continue;
      if (this.frame.view.record === undefined) return this.#pause();
      this.#show(this.frame.view.record + 1);
    }
  }
}

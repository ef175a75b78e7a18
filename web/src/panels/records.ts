// Records as text: logs, rows, objects, numbers; the last ones, or those that contain a text.
import { ask, type RecordOf, type Records } from "../api.ts";
import { element } from "../element.ts";
import { count, exact, isAlarming, short } from "../numbers.ts";
import type { Content, Frame } from "../panel.ts";

const COUNT = 200;

export class RecordsContent implements Content {
  readonly #frame: Frame;
  readonly #list = element("div", { class: "records", role: "log", tabindex: 0, "aria-label": "Records" });
  readonly #later: HTMLButtonElement;
  readonly #earlier: HTMLButtonElement;
  /** Where the previous records begin, or where they end during a search. */
  #before = 0;

  constructor(frame: Frame) {
    this.#frame = frame;
    this.#earlier = element(
      "button",
      { type: "button", onclick: () => frame.set({ record: this.#before }) },
      "Earlier",
    );
    this.#later = element(
      "button",
      { type: "button", title: "Follow the newest records", onclick: () => frame.set({ record: undefined }) },
      "Newest",
    );
    frame.body.append(this.#list);
  }

  tools(): HTMLElement[] {
    let timer: number | undefined;
    const search = element("input", {
      type: "search",
      placeholder: "Search records",
      "aria-label": "Search records",
      value: this.#frame.view.text ?? "",
      oninput: () => {
        window.clearTimeout(timer);
        timer = window.setTimeout(
          () => this.#frame.set({ text: search.value || undefined, record: undefined }),
          200,
        );
      },
    });
    return [search, this.#earlier, this.#later];
  }

  async refresh(signal: AbortSignal): Promise<void> {
    const { recordings, keys, record, text } = this.#frame.view;
    const asked = { recording: recordings[0], key: keys[0], first: record, count: COUNT, text };
    const { len, records, searched, searched_from, found } = await ask<Records>("records", asked, signal);
    const { scrollTop, scrollHeight, clientHeight } = this.#list;
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - 8;
    const first = text ? (searched_from ?? 0) : (records[0]?.index ?? 0);
    this.#before = text ? first : Math.max(first - COUNT, 0);
    this.#earlier.disabled = first === 0;
    this.#later.disabled = record === undefined;
    this.#list.replaceChildren(...records.map((it) => line(it, text)));
    if (isAtEnd && record === undefined) this.#list.scrollTop = this.#list.scrollHeight;
    const of = `${count(records.length)} of ${count(text ? (found ?? records.length) : len)} records`;
    this.#frame.say(
      text ? `${of} that contain “${text}”, of ${count(searched ?? len)} that were searched` : of,
    );
  }

  redraw(): void {}

  destroy(): void {
    this.#list.remove();
  }
}

function line({ index, coordinate, value, truncated }: RecordOf, text: string | undefined): HTMLElement {
  const shown = exact(value) + (truncated ? " …" : "");
  const [at] = Object.entries(coordinate ?? {});
  return element(
    "div",
    { class: "record" },
    element(
      "span",
      { class: "at", title: at ? `record ${index}` : "index" },
      at ? `${at[0]} ${short(at[1])}` : count(index),
    ),
    element("span", { class: isAlarming(value) ? "value alarm" : "value" }, ...marked(shown, text)),
  );
}

/** A text with marked matches of the search. */
export function marked(text: string, part: string | undefined): (Node | string)[] {
  if (!part) return [text];
  const found: (Node | string)[] = [];
  let start = 0;
  for (
    let at = text.toLowerCase().indexOf(part.toLowerCase());
    at >= 0;
    at = text.toLowerCase().indexOf(part.toLowerCase(), start)
  ) {
    found.push(text.slice(start, at), element("mark", {}, text.slice(at, at + part.length)));
    start = at + part.length;
  }
  return [...found, text.slice(start)];
}

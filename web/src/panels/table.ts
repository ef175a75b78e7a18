// The last values of all scalar series.
import { ask, type LastValue } from "../api.ts";
import { element } from "../element.ts";
import { count, isAlarming, short } from "../numbers.ts";
import type { Content, Frame } from "../panel.ts";

const HEADS = [
  ["Key", ""],
  ["Last value", "number"],
  ["Units", ""],
  ["At", ""],
  ["Records", "number"],
] as const;

export class TableContent implements Content {
  readonly #frame: Frame;
  readonly #body = element("tbody", {});
  #rows: LastValue[] = [];
  #isAll = true;

  constructor(frame: Frame) {
    this.#frame = frame;
    const heads = HEADS.map(([name, of]) => element("th", { scope: "col", class: of }, name));
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), this.#body);
    frame.body.append(
      element(
        "div",
        { class: "table", tabindex: 0, role: "region", "aria-label": "Last values of all scalars" },
        table,
      ),
    );
  }

  tools(): HTMLElement[] {
    const search = element("input", {
      type: "search",
      placeholder: "Filter keys",
      "aria-label": "Filter keys",
      value: this.#frame.view.text ?? "",
      oninput: () => {
        this.#frame.view.text = search.value || undefined;
        this.#frame.owner.changed(false);
        this.redraw();
      },
    });
    return [search];
  }

  async refresh(signal: AbortSignal): Promise<void> {
    const answer = await ask<{ is_all: boolean; rows: LastValue[] }>(
      "last",
      { recording: this.#frame.view.recordings[0] },
      signal,
    );
    this.#rows = answer.rows;
    this.#isAll = answer.is_all;
    this.redraw();
  }

  redraw(): void {
    const text = this.#frame.view.text?.toLowerCase() ?? "";
    const rows = this.#rows.filter((row) => row.key.toLowerCase().includes(text));
    this.#body.replaceChildren(...rows.map(rowOf));
    const alarming = rows.filter((row) => isAlarming(row.value)).length;
    this.#frame.alarm(alarming > 0 ? `${count(alarming)} not finite` : "");
    const rest = this.#isAll ? "" : "; there are more in this recording";
    this.#frame.say(`${count(rows.length)} of ${count(this.#rows.length)} scalars${rest}`);
  }

  destroy(): void {
    this.#body.remove();
  }
}

function rowOf({ key, value, units, coordinate, len }: LastValue): HTMLElement {
  const [at] = Object.entries(coordinate ?? {});
  return element(
    "tr",
    {},
    element("th", { scope: "row", title: key }, key),
    element(
      "td",
      { class: isAlarming(value) ? "number alarm" : "number" },
      value === null ? "–" : short(value),
    ),
    element("td", {}, units ?? ""),
    element("td", {}, at ? `${at[0]} ${short(at[1])}` : ""),
    element("td", { class: "number" }, count(len)),
  );
}

// The tree of keys: groups load what is in them when they are opened, and only the rows on the screen exist.
import { ask, type Child, type Node } from "./api.ts";
import { element } from "./element.ts";

const ROW_HEIGHT = 24;

interface Row {
  recording: number;
  key: string;
  kind: Child[1] | "recording";
  depth: number;
  isOpen: boolean;
}

/** Shows the keys of recordings; calls `choose` with the series that is chosen. */
export class Tree {
  readonly #container: HTMLElement;
  readonly #choose: (recording: number, key: string, add: boolean) => void;
  readonly #nodes = new Map<string, Node | null>();
  readonly #space = element("div", { class: "space" });
  #rows: Row[] = [];
  #focused = 0;

  constructor(container: HTMLElement, choose: (recording: number, key: string, add: boolean) => void) {
    this.#container = container;
    this.#choose = choose;
    container.append(this.#space);
    container.addEventListener("scroll", () => this.#draw());
    container.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.#draw()).observe(container);
  }

  /** Shows the whole of some recordings, the groups closed except where there is one recording. */
  async show(recordings: string[]): Promise<void> {
    this.#rows = recordings.map((name, recording) => ({ recording, key: name, kind: "recording", depth: 0, isOpen: false }));
    for (let index = recordings.length - 1; index >= 0; index--) await this.#toggle(index);
  }

  /** Shows the series and values whose keys contain a text. */
  async search(text: string, recordings: number): Promise<void> {
    const found = await Promise.all(
      Array.from({ length: recordings }, (_, recording) => ask<Child[]>("search", { recording, text })),
    );
    this.#rows = found.flatMap((children, recording) =>
      children.map(([key, kind]): Row => ({ recording, key, kind, depth: 0, isOpen: false })),
    );
    this.#focused = 0;
    this.#draw();
  }

  async #toggle(index: number): Promise<void> {
    const row = this.#rows[index];
    if (!row || (row.kind !== "group" && row.kind !== "recording")) return;
    if (row.isOpen) {
      let end = index + 1;
      while ((this.#rows[end]?.depth ?? 0) > row.depth) end++;
      this.#rows.splice(index + 1, end - index - 1);
    } else {
      const group = row.kind === "recording" ? "" : row.key;
      const children = await ask<Child[]>("children", { recording: row.recording, group });
      const rows = children.map(([key, kind]): Row => ({ recording: row.recording, key, kind, depth: row.depth + 1, isOpen: false }));
      this.#rows.splice(index + 1, 0, ...rows);
    }
    row.isOpen = !row.isOpen;
    this.#draw();
  }

  #press(event: KeyboardEvent): void {
    const row = this.#rows[this.#focused];
    const step: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -Infinity, End: Infinity };
    const by = step[event.key];
    if (by !== undefined) {
      this.#focused = Math.min(Math.max(this.#focused + by, 0), this.#rows.length - 1);
      const top = this.#focused * ROW_HEIGHT;
      const { scrollTop, clientHeight } = this.#container;
      if (top < scrollTop) this.#container.scrollTop = top;
      if (top + ROW_HEIGHT > scrollTop + clientHeight) this.#container.scrollTop = top + ROW_HEIGHT - clientHeight;
    } else if (event.key === "Enter" || event.key === " ") {
      this.#activate(this.#focused, event.shiftKey);
    } else if ((event.key === "ArrowRight" && row && !row.isOpen) || (event.key === "ArrowLeft" && row?.isOpen)) {
      void this.#toggle(this.#focused);
    } else {
      return;
    }
    event.preventDefault();
    this.#draw();
  }

  #activate(index: number, add: boolean): void {
    const row = this.#rows[index];
    if (!row) return;
    this.#focused = index;
    if (row.kind === "group" || row.kind === "recording") void this.#toggle(index);
    else this.#choose(row.recording, row.key, add);
  }

  #draw(): void {
    const { scrollTop, clientHeight } = this.#container;
    const first = Math.max(Math.floor(scrollTop / ROW_HEIGHT) - 5, 0);
    const last = Math.min(first + Math.ceil(clientHeight / ROW_HEIGHT) + 10, this.#rows.length);
    this.#space.style.height = `${this.#rows.length * ROW_HEIGHT}px`;
    this.#space.replaceChildren();
    for (let index = first; index < last; index++) this.#space.append(this.#drawRow(index));
    void this.#describe(first, last);
  }

  #drawRow(index: number): HTMLElement {
    const row = this.#rows[index] as Row;
    const isGroup = row.kind === "group" || row.kind === "recording";
    const node = this.#nodes.get(`${row.recording}:${row.key}`);
    const name = row.depth > 1 ? row.key.slice(row.key.lastIndexOf("/") + 1) : row.key;
    const made = element(
      "div",
      {
        class: index === this.#focused ? "row focused" : "row",
        role: "treeitem",
        "aria-level": row.depth + 1,
        title: row.key,
        onclick: (event) => this.#activate(index, (event as MouseEvent).shiftKey),
      },
      element("span", { class: "mark" }, isGroup ? (row.isOpen ? "▾" : "▸") : ""),
      element("span", { class: "name" }, name),
      element("span", { class: "about" }, node ? about(node) : ""),
    );
    if (isGroup) made.setAttribute("aria-expanded", String(row.isOpen));
    made.style.top = `${index * ROW_HEIGHT}px`;
    made.style.paddingLeft = `${8 + row.depth * 14}px`;
    return made;
  }

  /** Loads what the rows on the screen say about their series. */
  async #describe(first: number, last: number): Promise<void> {
    const missing = new Map<number, string[]>();
    for (const row of this.#rows.slice(first, last)) {
      const id = `${row.recording}:${row.key}`;
      if (row.kind === "group" || row.kind === "recording" || this.#nodes.has(id)) continue;
      this.#nodes.set(id, null);
      missing.set(row.recording, [...(missing.get(row.recording) ?? []), row.key]);
    }
    for (const [recording, key] of missing) {
      for (const node of await ask<Node[]>("nodes", { recording, key })) this.#nodes.set(`${recording}:${node.key}`, node);
      this.#draw();
    }
  }
}

/** What a row says about its series or value, in few words. */
export function about(node: Node): string {
  if (node.error) return "cannot be read";
  if (node.kind === "value") return typeof node.value === "string" ? node.value : JSON.stringify(node.value ?? node.dtype);
  const type = node.record_kind === "array" ? (node.dtype ?? "") : (node.record_kind ?? "");
  return [type, node.shape ? `[${node.shape.join(", ")}]` : "", node.units ?? ""].filter(Boolean).join(" ");
}

// The tree of keys: groups load their contents when they are opened, and only visible rows exist.
import { ask, type Child, type Found, type Node, type Recording, type Sparkline } from "./api.ts";
import { element } from "./element.ts";
import { icon, sparkline } from "./icons.ts";
import { count, isAlarming, short } from "./numbers.ts";
import { marked } from "./panels/records.ts";
import { foundRows, TreeModel, type Row } from "./tree-model.ts";

const ROW_HEIGHT = 26;
/** The number of rows beyond the screen that exist, so that scrolling shows no gap. */
const MARGIN = 8;
const MAX_KNOWN = 5000;
const SPARK_COLUMNS = 28;
/** A group is initially open if all rows fit on a screen. */
const FEW_ROWS = 30;

interface Owner {
  readonly recordings: Recording[];
  choose(recording: number, key: string, node: Node, add: boolean): void;
  say(text: string): void;
}

export class Tree {
  readonly #container: HTMLElement;
  readonly #owner: Owner;
  readonly #model: TreeModel;
  readonly #names: string[];
  readonly #nodes = new Map<string, Node>();
  /** The rows that were requested since the last refresh. */
  readonly #asked = new Set<string>();
  readonly #sparklines = new Map<string, Sparkline>();
  readonly #space = element("div", { class: "space", role: "presentation" });
  #rows: Row[] = [];
  #focused = 0;
  #text = "";
  #searches = 0;

  constructor(container: HTMLElement, owner: Owner) {
    this.#container = container;
    this.#owner = owner;
    this.#names = owner.recordings.map((recording) => recording.name);
    this.#model = new TreeModel(this.#names);
    container.append(this.#space);
    container.addEventListener("scroll", () => this.#draw());
    container.addEventListener("keydown", (event) => this.#press(event));
    // Rows may be replaced between press and release, and then the click reaches none of them.
    container.addEventListener("click", (event) => {
      const index = Math.floor((event.clientY - this.#space.getBoundingClientRect().top) / ROW_HEIGHT);
      const isAdd = event.target instanceof Element && event.target.closest(".add") !== null;
      this.#activate(index, event.shiftKey || isAdd);
    });
    new ResizeObserver(() => this.#draw()).observe(container);
  }

  /** Loads the first rows. */
  async start(): Promise<void> {
    await Promise.all(this.#names.map((_, recording) => this.#load(recording, "")));
    const groups = this.#model.rows().filter((row) => row.kind === "group");
    if (groups.length <= 12) {
      await Promise.all(groups.map((row) => this.#load(row.recording, row.key)));
      for (const row of groups) {
        this.#model.setOpen(row.recording, row.key, true);
        if (this.#model.rows().length > FEW_ROWS) this.#model.setOpen(row.recording, row.key, false);
      }
    }
    this.#show(this.#model.rows());
  }

  /** Shows the series and values whose keys contain a text; without one, the whole tree. */
  async search(text: string): Promise<void> {
    this.#text = text;
    const search = ++this.#searches;
    this.#container.scrollTop = 0;
    this.#focused = 0;
    if (!text) {
      this.#owner.say("");
      return this.#show(this.#model.rows());
    }
    this.#owner.say("Searching …");
    const found = await Promise.all(
      this.#names.map((_, recording) => ask<Found>("search", { recording, text })),
    );
    // Another text may have been entered meanwhile.
    if (search !== this.#searches) return;
    this.#show(
      foundRows(
        found.map((it) => it.keys),
        this.#names,
      ),
    );
    const total = found.reduce((sum, it) => sum + it.total, 0);
    this.#owner.say(
      total > this.#rows.length
        ? `${count(this.#rows.length)} of ${count(total)} keys`
        : `${count(total)} keys`,
    );
  }

  /** Updates the rows on the screen; `hasKeys` if there may be new keys. */
  async refresh(hasKeys: boolean): Promise<void> {
    this.#asked.clear();
    if (hasKeys && this.#rows.length < MAX_KNOWN) {
      await Promise.all(this.#model.open.map(([recording, group]) => this.#load(recording, group)));
      if (!this.#text) this.#rows = this.#model.rows();
    }
    this.#draw();
  }

  /** The server's description of a key. */
  async node(recording: number, key: string): Promise<Node | undefined> {
    const [node] = await ask<Node[]>("nodes", { recording, key });
    return node;
  }

  async #load(recording: number, group: string): Promise<void> {
    this.#model.setChildren(recording, group, await ask<Child[]>("children", { recording, group }));
  }

  async #toggle(row: Row): Promise<void> {
    if (!row.isOpen && !this.#model.has(row.recording, row.key)) await this.#load(row.recording, row.key);
    this.#model.setOpen(row.recording, row.key, !row.isOpen);
    this.#show(this.#model.rows());
  }

  #show(rows: Row[]): void {
    this.#rows = rows;
    this.#focused = Math.max(Math.min(this.#focused, rows.length - 1), 0);
    this.#draw();
  }

  #press(event: KeyboardEvent): void {
    const row = this.#rows[this.#focused];
    const page = Math.max(Math.floor(this.#container.clientHeight / ROW_HEIGHT) - 1, 1);
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    };
    const step = steps[event.key];
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const isGroup = row.kind === "group" || row.kind === "recording";
    if (step !== undefined) this.#focus(this.#focused + step);
    else if (event.key === "Enter" || event.key === " ") this.#activate(this.#focused, event.shiftKey);
    else if (event.key === "ArrowRight" && isGroup && !row.isOpen) void this.#toggle(row);
    else if (event.key === "ArrowRight") this.#focus(this.#focused + 1);
    else if (event.key === "ArrowLeft" && row.isOpen) void this.#toggle(row);
    else if (event.key === "ArrowLeft") this.#focus(this.#parent(this.#focused));
    else return;
    event.preventDefault();
  }

  #parent(index: number): number {
    const depth = this.#rows[index]?.depth ?? 0;
    for (let above = index - 1; above >= 0; above--)
      if ((this.#rows[above]?.depth ?? 0) < depth) return above;
    return index;
  }

  #focus(index: number): void {
    this.#focused = Math.min(Math.max(index, 0), this.#rows.length - 1);
    const top = this.#focused * ROW_HEIGHT;
    const { scrollTop, clientHeight } = this.#container;
    if (top < scrollTop) this.#container.scrollTop = top;
    if (top + ROW_HEIGHT > scrollTop + clientHeight)
      this.#container.scrollTop = top + ROW_HEIGHT - clientHeight;
    this.#draw();
  }

  #activate(index: number, add: boolean): void {
    const row = this.#rows[index];
    if (!row) return;
    this.#focused = index;
    if (row.kind === "group" || row.kind === "recording") {
      void this.#toggle(row);
      return;
    }
    this.#draw();
    const known = this.#nodes.get(row.id);
    const node = known ? Promise.resolve(known) : this.node(row.recording, row.key);
    node.then(
      (node) => node && this.#owner.choose(row.recording, row.key, node, add),
      (error: Error) => this.#owner.say(error.message),
    );
  }

  #draw(): void {
    const { scrollTop, clientHeight } = this.#container;
    const first = Math.max(Math.floor(scrollTop / ROW_HEIGHT) - MARGIN, 0);
    const last = Math.min(first + Math.ceil(clientHeight / ROW_HEIGHT) + 2 * MARGIN, this.#rows.length);
    this.#space.style.height = `${this.#rows.length * ROW_HEIGHT}px`;
    const drawn = this.#rows.slice(first, last).map((row, index) => this.#drawRow(row, first + index));
    // The focused row stays in the document, for screen readers.
    const focused = this.#rows[this.#focused];
    if (focused && (this.#focused < first || this.#focused >= last))
      drawn.push(this.#drawRow(focused, this.#focused));
    this.#space.replaceChildren(...drawn);
    this.#container.setAttribute("aria-activedescendant", focused ? `row-${this.#focused}` : "");
    void this.#describe(this.#rows.slice(first, last));
  }

  #drawRow(row: Row, index: number): HTMLElement {
    const isGroup = row.kind === "group" || row.kind === "recording";
    const node = this.#nodes.get(row.id);
    const made = element(
      "div",
      {
        id: `row-${index}`,
        class: index === this.#focused ? "row focused" : "row",
        role: "treeitem",
        "data-key": row.key,
        "aria-level": row.depth + 1,
        "aria-posinset": row.place,
        "aria-setsize": row.siblings,
        "aria-selected": String(index === this.#focused),
        "aria-expanded": isGroup ? String(row.isOpen) : undefined,
        title: titleOf(row, node),
      },
      icon(node, row.kind),
      element("span", { class: "name" }, ...marked(row.name, this.#text)),
      ...(isGroup ? [] : this.#about(row, node)),
    );
    made.style.top = `${index * ROW_HEIGHT}px`;
    made.style.paddingLeft = `${10 + row.depth * 16}px`;
    return made;
  }

  /** The part to the right of the name: a sparkline and the last number, or the type and the shape. */
  #about(row: Row, node: Node | undefined): HTMLElement[] {
    const spark = this.#sparklines.get(row.id);
    const about = element("span", { class: "about" });
    if (spark) {
      const last = element(
        "span",
        { class: isAlarming(spark.last) ? "last alarm" : "last" },
        short(spark.last ?? "–"),
      );
      about.append(sparkline(spark), last, element("span", { class: "units" }, node?.units ?? ""));
    } else if (node) {
      about.append(aboutNode(node));
    }
    if (row.kind !== "series") return [about];
    const add = element(
      "button",
      {
        type: "button",
        class: "add",
        tabindex: -1,
        title: "Add to the selected plot (Shift-click, Shift-Enter)",
        "aria-label": `Add ${row.key} to the selected plot`,
      },
      "+",
    );
    return [about, add];
  }

  /** Loads the descriptions of the series on the screen. */
  async #describe(rows: Row[]): Promise<void> {
    if (this.#nodes.size > MAX_KNOWN)
      [this.#nodes, this.#sparklines, this.#asked].forEach((known) => known.clear());
    const missing = new Map<number, string[]>();
    for (const row of rows) {
      if (row.kind === "group" || row.kind === "recording" || this.#asked.has(row.id)) continue;
      this.#asked.add(row.id);
      missing.set(row.recording, [...(missing.get(row.recording) ?? []), row.key]);
    }
    for (const [recording, keys] of missing)
      await this.#ask(recording, keys).catch((error: Error) => this.#owner.say(error.message));
    if (missing.size > 0) this.#draw();
  }

  async #ask(recording: number, keys: string[]): Promise<void> {
    const nodes = await ask<Node[]>("nodes", { recording, key: keys });
    for (const node of nodes) this.#nodes.set(`${recording}:${node.key}`, node);
    const scalars = nodes
      .filter((node) => node.record_kind === "array" && node.shape?.length === 1)
      .map((node) => node.key);
    if (scalars.length === 0) return;
    const sparklines = await ask<Sparkline[]>("sparklines", {
      recording,
      key: scalars,
      columns: SPARK_COLUMNS,
    });
    for (const spark of sparklines) this.#sparklines.set(`${recording}:${spark.key}`, spark);
  }
}

function titleOf(row: Row, node: Node | undefined): string {
  const len = node?.kind === "series" ? node.shape?.[0] : undefined;
  return (row.key || row.name) + (len === undefined ? "" : `: ${count(len)} records`);
}

/** A short description of a series or value in its row. */
export function aboutNode(node: Node): string {
  if (node.error) return "cannot be read";
  if (node.kind === "value") return short(node.value ?? node.dtype ?? "", 40);
  const type = node.record_kind === "array" ? (node.dtype ?? "") : (node.record_kind ?? "");
  return [type, node.shape?.slice(1).map(count).join(" × "), node.units].filter(Boolean).join("  ");
}

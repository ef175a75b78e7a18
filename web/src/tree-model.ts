// The rows of the tree of keys.
import type { Child } from "./api.ts";

export interface Row {
  /** Unique among all rows. */
  id: string;
  recording: number;
  /** The full key; empty for a recording. */
  key: string;
  /** The displayed name. */
  name: string;
  kind: Child[1] | "recording";
  depth: number;
  isOpen: boolean;
  /** Its position among its siblings, from 1, and their number. */
  place: number;
  siblings: number;
}

/** The tree of some recordings. Only opened groups are loaded. */
export class TreeModel {
  readonly #names: string[];
  readonly #children = new Map<string, Child[]>();
  readonly #open = new Set<string>();

  /** A single recording has no row. */
  constructor(names: string[]) {
    this.#names = names;
    names.forEach((_, recording) => this.#open.add(idOf(recording, "")));
  }

  /** The open groups, as recordings and keys. */
  get open(): [recording: number, group: string][] {
    return [...this.#open].map((id) => [Number(id.slice(0, id.indexOf(":"))), id.slice(id.indexOf(":") + 1)]);
  }

  has(recording: number, group: string): boolean {
    return this.#children.has(idOf(recording, group));
  }

  setChildren(recording: number, group: string, children: Child[]): void {
    this.#children.set(idOf(recording, group), children);
  }

  setOpen(recording: number, group: string, isOpen: boolean): void {
    if (isOpen) this.#open.add(idOf(recording, group));
    else this.#open.delete(idOf(recording, group));
  }

  rows(): Row[] {
    const rows: Row[] = [];
    this.#names.forEach((name, recording) => {
      if (this.#names.length === 1) return this.#push(rows, recording, "", 0);
      const isOpen = this.#open.has(idOf(recording, ""));
      const [place, siblings] = [recording + 1, this.#names.length];
      rows.push({
        id: idOf(recording, ""),
        recording,
        key: "",
        name,
        kind: "recording",
        depth: 0,
        isOpen,
        place,
        siblings,
      });
      if (isOpen) this.#push(rows, recording, "", 1);
    });
    return rows;
  }

  #push(rows: Row[], recording: number, group: string, depth: number): void {
    const children = this.#children.get(idOf(recording, group)) ?? [];
    children.forEach(([key, kind], index) => {
      const id = idOf(recording, key);
      const isOpen = kind === "group" && this.#open.has(id);
      const name = key.slice(group ? group.length + 1 : 0);
      rows.push({
        id,
        recording,
        key,
        name,
        kind,
        depth,
        isOpen,
        place: index + 1,
        siblings: children.length,
      });
      if (isOpen) this.#push(rows, recording, key, depth + 1);
    });
  }
}

/** The rows of found keys, without their groups. */
export function foundRows(found: Child[][], names: string[]): Row[] {
  const siblings = found.reduce((sum, children) => sum + children.length, 0);
  let place = 0;
  return found.flatMap((children, recording) =>
    children.map(([key, kind]): Row => {
      const name = names.length > 1 ? `${names[recording]}: ${key}` : key;
      return {
        id: idOf(recording, key),
        recording,
        key,
        name,
        kind,
        depth: 0,
        isOpen: false,
        place: ++place,
        siblings,
      };
    }),
  );
}

function idOf(recording: number, key: string): string {
  return `${recording}:${key}`;
}

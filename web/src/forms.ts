// The forms in which a key can be shown, and the selection of its records.
import type { Node } from "./api.ts";
import type { Form, View } from "./view.ts";

/** Records with up to this many elements are shown as lines by default, as in `simrec plot`. */
const MAX_LINES_OF_ONE = 8;

export const NAMES: Record<Form, string> = {
  lines: "Lines",
  "heat-map": "Heat map",
  image: "Image",
  raster: "Raster",
  histogram: "Histogram",
  records: "Records",
  details: "Details",
  table: "Last values",
};

/** The forms for a node, the most suitable first. */
export function formsOf(node: Node): Form[] {
  if (node.kind !== "series" || node.error) return ["details"];
  const rest: Form[] = ["records", "details"];
  const isNumeric = !/complex|^c\d/.test(node.dtype ?? "");
  if (node.record_kind === "ragged" && isNumeric) return ["raster", "histogram", ...rest];
  if (node.record_kind !== "array" || !isNumeric) return rest;
  const [, ...shape] = node.shape ?? [];
  if (shape.length === 0) return ["lines", "histogram", ...rest];
  if (shape.length === 1) {
    const few: Form[] = ["lines", "heat-map"];
    return [
      ...((shape[0] as number) <= MAX_LINES_OF_ONE ? few : few.reverse()),
      "raster",
      "histogram",
      ...rest,
    ];
  }
  if (shape.length === 2 || shape.length === 3) return ["image", "histogram", ...rest];
  return ["histogram", ...rest];
}

/** Whether records are images with three or four colour channels. */
export function isColoured(node: Node): boolean {
  const [, ...shape] = node.shape ?? [];
  return shape.length === 3 && node.dtype === "uint8" && (shape[2] === 3 || shape[2] === 4);
}

/** The key of an image with the selection of its record, and of a slice if records have three dimensions. */
export function imageKey(node: Node, view: View): string {
  const len = node.shape?.[0] ?? 0;
  const record = Math.min(view.record ?? len - 1, len - 1);
  const [, ...shape] = node.shape ?? [];
  if (shape.length < 3 || isColoured(node)) return `${node.key}[${record}]`;
  const axis = view.axis ?? 0;
  const at = view.slice ?? Math.floor((shape[axis] ?? 0) / 2);
  const selection = shape.map((_, index) => (index === axis ? String(at) : ":"));
  return `${node.key}[${[record, ...selection].join(", ")}]`;
}

/** The keys of the elements in a list such as `3, 7, 10-12`; undefined if it is malformed. */
export function traceKeys(key: string, list: string, len: number): string[] | undefined {
  const indices = new Set<number>();
  for (const part of list
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean)) {
    const range = /^(\d+)(?:\s*-\s*(\d+))?$/.exec(part);
    if (!range) return undefined;
    const first = Number(range[1]);
    const last = Number(range[2] ?? first);
    if (last < first || last >= len || indices.size + last - first >= 64) return undefined;
    for (let index = first; index <= last; index++) indices.add(index);
  }
  return [...indices].map((index) => `${key}[:, ${index}]`);
}

/** The elements that keys select, in the form of such a list. */
export function traceList(keys: string[]): string {
  return keys.flatMap((key) => /\[:, (\d+)\]$/.exec(key)?.[1] ?? []).join(", ");
}

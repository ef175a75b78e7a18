// The view that the address keeps, so that a link shows the same panels.

export type Form = "lines" | "heat-map" | "image" | "raster" | "histogram" | "text" | "values";

export interface Panel {
  /** Which recordings, by their numbers. */
  recordings: number[];
  /** Keys, with selections. */
  keys: string[];
  form?: Form;
  from?: number;
  to?: number;
  log?: boolean;
  index?: boolean;
  /** How strongly a line is smoothed, from 0 to 1. */
  smooth?: number;
  /** Which record an image is of; without one, the last. */
  record?: number;
}

/** Reads panels from the fragment of an address. What is malformed is left out. */
export function parse(fragment: string): Panel[] {
  try {
    const parsed: unknown = JSON.parse(decodeURIComponent(fragment.replace(/^#/, "")));
    return Array.isArray(parsed) ? parsed.flatMap(checked) : [];
  } catch {
    return [];
  }
}

/** The fragment of an address that shows these panels. */
export function format(panels: Panel[]): string {
  return panels.length === 0 ? "" : "#" + encodeURIComponent(JSON.stringify(panels));
}

const FORMS: readonly unknown[] = ["lines", "heat-map", "image", "raster", "histogram", "text", "values"];

function checked(value: unknown): Panel[] {
  if (typeof value !== "object" || value === null) return [];
  const { recordings, keys, form, from, to, log, index, smooth, record } = value as Record<string, unknown>;
  const isList = (list: unknown, type: string): boolean =>
    Array.isArray(list) && list.length > 0 && list.length < 100 && list.every((item) => typeof item === type);
  if (!isList(recordings, "number") || !isList(keys, "string")) return [];
  const panel: Panel = { recordings: recordings as number[], keys: keys as string[] };
  if (FORMS.includes(form)) panel.form = form as Form;
  if (typeof from === "number") panel.from = from;
  if (typeof to === "number") panel.to = to;
  if (log === true) panel.log = true;
  if (index === true) panel.index = true;
  if (typeof smooth === "number") panel.smooth = Math.min(Math.max(smooth, 0), 0.999);
  if (typeof record === "number") panel.record = record;
  return [panel];
}

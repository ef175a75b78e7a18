// The state of the page, stored in the fragment of its address, so that a link shows the same
// panels: `#show=lines&key=net/rate&from=1&to=2&show=image&key=frames&record=12`.

export const FORMS = [
  "lines",
  "heat-map",
  "image",
  "raster",
  "histogram",
  "records",
  "details",
  "table",
] as const;
export type Form = (typeof FORMS)[number];

export interface View {
  form: Form;
  /** The numbers of the recordings. */
  recordings: number[];
  /** Keys with selections; a table of last values has none. */
  keys: string[];
  from?: number | undefined;
  to?: number | undefined;
  log?: boolean | undefined;
  /** Whether the x axis is the index although there is a coordinate. */
  index?: boolean | undefined;
  /** The width of the smoothing window in percent of the x axis. */
  smooth?: number | undefined;
  /** The record of an image; by default, the last one. */
  record?: number | undefined;
  /** For records of three dimensions, the axis of a slice, and its position. */
  axis?: number | undefined;
  slice?: number | undefined;
  /** The numbers at the ends of the colour scale, if they are not those of the shown data. */
  low?: number | undefined;
  high?: number | undefined;
  /** The text that records must contain. */
  text?: string | undefined;
  wide?: boolean | undefined;
}

const NUMBERS = ["from", "to", "smooth", "record", "axis", "slice", "low", "high"] as const;
const SWITCHES = ["log", "index", "wide"] as const;
const MOST = 100;

/** Parses views from the fragment of an address. Malformed parts are ignored. */
export function parse(fragment: string): View[] {
  const views: View[] = [];
  for (const [name, text] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    if (name === "show") {
      const form = FORMS.find((form) => form === text);
      if (form && views.length < MOST) views.push({ form, recordings: [], keys: [] });
    }
    const view = views[views.length - 1];
    if (view) set(view, name, text);
  }
  for (const view of views) if (view.recordings.length === 0) view.recordings.push(0);
  return views.filter((view) => view.form === "table" || view.keys.length > 0);
}

function set(view: View, name: string, text: string): void {
  const value = Number(text);
  const ofNumber = NUMBERS.find((it) => it === name);
  const ofSwitch = SWITCHES.find((it) => it === name);
  if (name === "key" && view.keys.length < MOST) view.keys.push(text);
  else if (name === "recording" && Number.isInteger(value) && value >= 0 && view.recordings.length < MOST)
    view.recordings.push(value);
  else if (name === "text") view.text = text;
  else if (ofNumber && text !== "" && Number.isFinite(value)) view[ofNumber] = value;
  else if (ofSwitch) view[ofSwitch] = true;
}

/** The fragment of an address for these views. */
export function format(views: View[]): string {
  const query = new URLSearchParams();
  for (const view of views) {
    query.append("show", view.form);
    for (const key of view.keys) query.append("key", key);
    if (view.recordings.some((recording) => recording !== 0)) {
      for (const recording of view.recordings) query.append("recording", String(recording));
    }
    for (const name of NUMBERS) if (view[name] !== undefined) query.append(name, String(view[name]));
    for (const name of SWITCHES) if (view[name]) query.append(name, "1");
    if (view.text) query.append("text", view.text);
  }
  // Readable where an address allows it.
  const text = query.toString().replace(/%(2F|3A|2C|5B|5D)/g, (escaped) => decodeURIComponent(escaped));
  return text && `#${text}`;
}

/** A key without its selection. */
export function keyOf(text: string): string {
  return text.replace(/\[[^[\]]*\]$/, "");
}

// What the server answers: see simrecorder-cli/src/commands/serve/api.rs.

export interface Recording {
  name: string;
  location: string;
  state: State;
}

export type State = "recording" | "ended" | "killed" | null | { error: string };

/** A key, and whether a group, a series or a value is there. */
export type Child = [key: string, kind: "group" | "series" | "value"];

/** What `simrec ls -l --json` says of a key. */
export interface Node {
  key: string;
  kind: string;
  record_kind?: string;
  dtype?: string;
  shape?: number[];
  units?: string;
  coordinate?: { name: string };
  value?: unknown;
  error?: string;
}

export interface Axis {
  label: string;
  start: number;
  end: number;
  is_log: boolean;
}

export interface Line {
  label: string;
  parts: [x: number, y: number][][];
}

export interface Cells {
  picture: string;
  scale: { label: string; start: number; end: number } | null;
}

export interface Figure {
  title: string;
  note: string;
  x: Axis;
  y: Axis;
  lines?: Line[];
  cells?: Cells;
}

export interface Records {
  first: number;
  len: number;
  records: { index: number; coordinate?: Record<string, number>; value: unknown }[];
}

/** What a request asks for; a list is given once for each of its elements. */
export type Parameters = Record<string, string | number | boolean | undefined | (string | number)[]>;

/** The address of a request. What is undefined or false is left out. */
export function address(path: string, parameters: Parameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined || value === false) continue;
    for (const item of Array.isArray(value) ? value : [value]) query.append(name, String(item));
  }
  return `/api/${path}?${query}`;
}

/** Asks the server. An answer that is an error throws its message. */
export async function ask<T>(path: string, parameters: Parameters, signal?: AbortSignal): Promise<T> {
  const response = await fetch(address(path, parameters), signal ? { signal } : {});
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Error(answer.error ?? `${response.status} ${response.statusText}`);
  }
  return response.json();
}

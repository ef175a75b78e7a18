// The responses of the server: see simrecorder-cli/src/commands/serve/api.rs.
import type { Figured } from "./numbers.ts";

export interface Recording {
  name: string;
  location: string;
  state: State;
}

export type State = "recording" | "ended" | "killed" | null | { error: string };

/** A key, and whether a group, a series or a value is there. */
export type Child = [key: string, kind: "group" | "series" | "value"];

export interface Found {
  keys: Child[];
  total: number;
}

/** What `simrec ls -l --json` says of a key. */
export interface Node {
  key: string;
  kind: "group" | "series" | "value";
  record_kind?: string;
  dtype?: string;
  shape?: number[];
  chunks?: number[];
  codec?: string;
  stored_bytes?: number;
  ratio?: number;
  units?: string;
  coordinate?: { name: string; first: Figured; last: Figured };
  value?: unknown;
  attributes?: Record<string, unknown>;
  error?: string;
}

/** The smallest and the largest number in each of some parts of a series. */
export interface Sparkline {
  key: string;
  min: (number | null)[];
  max: (number | null)[];
  last: Figured | null;
  nan: number;
}

export interface LastValue {
  key: string;
  units?: string;
  len: number;
  value: Figured | boolean | null;
  coordinate?: Record<string, Figured>;
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
  /** Where numbers are not finite. */
  nan?: number[];
}

export interface Cells {
  /** A PNG in base64. */
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

export interface RecordOf {
  index: number;
  coordinate?: Record<string, Figured>;
  value: unknown;
  truncated?: boolean;
}

export interface Records {
  len: number;
  records: RecordOf[];
  /** How many records were searched for a text, from which one on, and how many contain it. */
  searched?: number;
  searched_from?: number;
  found?: number;
}

/** What is new of a recording. */
export interface Change {
  state: State;
  /** Differs after each commit. */
  version: unknown;
  lengths: Record<string, number | null>;
}

/** What a request asks for; a list is given once for each of its elements. */
export type Parameters = Record<string, string | number | boolean | undefined | (string | number)[]>;

/** An answer of the server that is an error. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The address of a request. What is undefined or false is left out. */
export function address(path: string, parameters: Parameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined || value === false) continue;
    for (const item of Array.isArray(value) ? value : [value])
      query.append(name, item === true ? "1" : String(item));
  }
  return `/api/${path}?${query}`;
}

/** Asks the server. An answer that is an error throws its message. */
export async function ask<T>(path: string, parameters: Parameters, signal?: AbortSignal): Promise<T> {
  const response = await fetch(address(path, parameters), signal ? { signal } : {}).catch((error: Error) => {
    throw signal?.aborted ? error : new Error("the server cannot be reached");
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Refused(
      response.status,
      answer.error ?? `the server answers ${response.status} ${response.statusText}`,
    );
  }
  return response.json();
}

// The responses of the server: see simrecorder-cli/src/commands/serve/api.rs.
import type { Figured } from "./numbers.ts";

export interface Recording {
  name: string;
  location: string;
  state: State;
}

export type State = "recording" | "ended" | "killed" | null | { error: string };

/** A key, and its kind: group, series or value. */
export type Child = [key: string, kind: "group" | "series" | "value"];

export interface Found {
  keys: Child[];
  total: number;
}

/** The output of `simrec ls -l --json` for a key. */
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

/** The smallest and the largest number in each of several parts of a series. */
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
  /** The positions of numbers that are not finite. */
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
  /** The number of records that were searched for a text, the first of them, and the number of matches. */
  searched?: number;
  searched_from?: number;
  found?: number;
}

/** The changes of a recording. */
export interface Change {
  state: State;
  /** Differs after each commit. */
  version: unknown;
  lengths: Record<string, number | null>;
}

/** The parameters of a request. A list is repeated for each of its elements. */
export type Parameters = Record<string, string | number | boolean | undefined | (string | number)[]>;

/** An error response of the server. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The address of a request, without undefined and false parameters. */
export function address(path: string, parameters: Parameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined || value === false) continue;
    for (const item of Array.isArray(value) ? value : [value])
      query.append(name, item === true ? "1" : String(item));
  }
  return `/api/${path}?${query}`;
}

/** Sends a request to the server. Throws the message of an error response. */
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

// Live updates: server-sent events, and polling without them.
import { address, ask, Refused, type Change, type Recording } from "./api.ts";

/** `refused`: another server issued the cookie. */
export type Connection = "connecting" | "connected" | "lost" | "refused";

const RETRY_MS = 1500;
/** If a timer is this late, the machine has slept. */
const SLEPT_MS = 15_000;
/** Requests are limited in size. The lengths of series that do not fit are not watched. */
const MAX_WATCHED_BYTES = 12_000;

interface Listener {
  changes(changes: Change[]): void;
  connection(connection: Connection): void;
}

/** Reports changes, and reconnects automatically. A hidden page does not listen. */
export class Live {
  readonly #listener: Listener;
  #watched: string[] = [];
  #events: EventSource | undefined;
  #retry: number | undefined;

  constructor(listener: Listener) {
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    window.addEventListener("online", () => this.#open());
    // After the machine slept, the connection may be dead without having been closed.
    let last = Date.now();
    window.setInterval(() => {
      const hasSlept = Date.now() - last > SLEPT_MS;
      last = Date.now();
      if (hasSlept && !document.hidden) this.#open();
    }, 1000);
  }

  /** Watches these series, each as `RECORDING:KEY`. */
  watch(series: Iterable<string>): void {
    let bytes = 0;
    const watched = [...new Set(series)].filter(
      (text) => (bytes += encodeURIComponent(text).length + 7) < MAX_WATCHED_BYTES,
    );
    if (this.#events && watched.join("\n") === this.#watched.join("\n")) return;
    this.#watched = watched;
    if (!document.hidden) this.#open();
  }

  #close(): void {
    window.clearTimeout(this.#retry);
    this.#events?.close();
    this.#events = undefined;
  }

  #open(): void {
    this.#close();
    const events = new EventSource(address("events", { watch: this.#watched }));
    this.#events = events;
    events.addEventListener("open", () => this.#listener.connection("connected"));
    events.addEventListener("message", (event) => this.#listener.changes(JSON.parse(event.data) as Change[]));
    events.addEventListener("error", () => this.#lose("lost"));
  }

  /** Checks from time to time whether the server is back: a browser does not report why events end. */
  #lose(connection: Connection): void {
    this.#close();
    this.#listener.connection(connection);
    this.#retry = window.setTimeout(() => {
      ask<Recording[]>("recordings", {}).then(
        () => document.hidden || this.#open(),
        (error: unknown) => this.#lose(error instanceof Refused && error.status === 403 ? "refused" : "lost"),
      );
    }, RETRY_MS);
  }
}

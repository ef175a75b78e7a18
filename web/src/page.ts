// The page: the tree of keys, the panels that the address keeps, and what changes while one looks.
import "./page.css";
import { address, ask, type Recording, type State } from "./api.ts";
import { byId, element } from "./element.ts";
import { PlotPanel } from "./panel.ts";
import { Tree } from "./tree.ts";
import { format, parse } from "./view.ts";

interface Change {
  state: State;
  lengths: Record<string, number | null>;
}

/** After so long without a new record, a simulation that records is called stalled. */
const STALLED_AFTER_MS = 15_000;

class Page {
  readonly #recordings: Recording[];
  readonly #panels: PlotPanel[] = [];
  #events: EventSource | undefined;
  #isPaused = false;
  #lastChange = Date.now();
  #states: State[] = [];

  constructor(recordings: Recording[]) {
    this.#recordings = recordings;
    this.#states = recordings.map((recording) => recording.state);
    document.title = recordings.map((recording) => recording.name).join(", ");
    const tree = new Tree(byId("tree"), (recording, key, add) => this.#choose(recording, key, add));
    const names = recordings.map((recording) => recording.name);
    void tree.show(names);
    const search = byId("search") as HTMLInputElement;
    let timer: number | undefined;
    search.addEventListener("input", () => {
      window.clearTimeout(timer);
      timer = window.setTimeout(() => void (search.value ? tree.search(search.value, names.length) : tree.show(names)), 150);
    });
    byId("pause").addEventListener("click", () => this.#pause());
    byId("toggle").addEventListener("click", () => {
      const isClosed = document.body.classList.toggle("without-keys");
      byId("toggle").setAttribute("aria-expanded", String(!isClosed));
    });
    window.addEventListener("hashchange", () => this.#restore());
    window.setInterval(() => this.#showStates(), 1000);
    this.#restore();
  }

  #restore(): void {
    if (location.hash === format(this.#panels.map((panel) => panel.view))) return;
    this.#panels.splice(0);
    byId("panels").replaceChildren();
    for (const view of parse(location.hash)) this.#add(new PlotPanel(view, this.#owner));
    this.#changed();
  }

  readonly #owner = {
    changed: () => this.#changed(),
    close: (panel: PlotPanel) => {
      this.#panels.splice(this.#panels.indexOf(panel), 1);
      panel.root.remove();
      this.#changed();
    },
  };

  #add(panel: PlotPanel): void {
    this.#panels.push(panel);
    byId("panels").append(panel.root);
  }

  #choose(recording: number, key: string, add: boolean): void {
    const last = this.#panels[this.#panels.length - 1];
    if (add && last) {
      if (!last.view.keys.includes(key)) last.view.keys.push(key);
      if (!last.view.recordings.includes(recording)) last.view.recordings.push(recording);
      last.refresh();
    } else {
      this.#add(new PlotPanel({ recordings: [recording], keys: [key] }, this.#owner));
      this.#panels[this.#panels.length - 1]?.root.scrollIntoView({ block: "nearest" });
    }
    this.#changed();
  }

  #changed(): void {
    const views = this.#panels.map((panel) => panel.view);
    history.replaceState(null, "", format(views) || location.pathname);
    byId("empty").hidden = views.length > 0;
    this.#watch();
  }

  /** Has the server tell when the series of the panels grow. The browser connects again by itself. */
  #watch(): void {
    this.#events?.close();
    const watch = this.#panels.flatMap(({ view }) =>
      view.recordings.flatMap((recording) => view.keys.map((key) => `${recording}:${key.replace(/\[.*$/, "")}`)),
    );
    this.#events = new EventSource(address("events", { watch: [...new Set(watch)] }));
    let isFirst = true;
    this.#events.addEventListener("message", (event) => {
      const changes = JSON.parse(event.data) as Change[];
      this.#states = changes.map((change) => change.state);
      this.#lastChange = Date.now();
      if (!isFirst && !this.#isPaused) for (const panel of this.#panels) panel.refresh();
      isFirst = false;
      this.#showStates();
    });
    this.#events.addEventListener("error", () => this.#showStates());
  }

  #pause(): void {
    this.#isPaused = !this.#isPaused;
    byId("pause").setAttribute("aria-pressed", String(this.#isPaused));
    if (!this.#isPaused) for (const panel of this.#panels) panel.refresh();
  }

  #showStates(): void {
    const isConnected = this.#events?.readyState === EventSource.OPEN;
    const isQuiet = Date.now() - this.#lastChange > STALLED_AFTER_MS;
    const text = (state: State | undefined): string => {
      if (!isConnected) return "server not reached";
      if (state === "recording") return isQuiet ? "stalled" : "recording";
      if (typeof state === "object" && state) return state.error;
      return state ?? "";
    };
    byId("recordings").replaceChildren(
      ...this.#recordings.map((recording, index) =>
        element("p", { title: recording.location }, recording.name, " ", element("span", { class: "state" }, text(this.#states[index]))),
      ),
    );
  }
}

ask<Recording[]>("recordings", {}).then(
  (recordings) => new Page(recordings),
  (error: Error) => (byId("status").textContent = error.message),
);

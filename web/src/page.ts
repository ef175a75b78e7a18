// The page: the tree of keys, the panels, which the address stores, and live updates.
import "uplot/dist/uPlot.min.css";
import "./page.css";
import { ask, Refused, type Change, type Node, type Recording } from "./api.ts";
import { byId, element } from "./element.ts";
import { formsOf, traceKeys } from "./forms.ts";
import { Live, type Connection } from "./live.ts";
import { Panel } from "./panel.ts";
import { stateOf } from "./state.ts";
import { install } from "./theme.ts";
import { Tree } from "./tree.ts";
import { format, keyOf, parse, type View } from "./view.ts";

/** The minimum interval between two updates of panels and the tree while a simulation records. */
const PANELS_MS = 250;
const TREE_MS = 1000;
const KEYS_MS = 5000;
/** The interval if the server cannot detect commits. */
const POLL_MS = 2000;

class Page {
  readonly recordings: Recording[];
  readonly #panels: Panel[] = [];
  readonly #tree: Tree;
  readonly #live: Live;
  #selected: Panel | undefined;
  #isPaused = false;
  #connection: Connection = "connecting";
  /** The last message of the server, and the state that the panels show. */
  #now: Change[] = [];
  #shown: Change[] = [];
  /** The time of the last change of each recording. */
  readonly #changedAt: number[];
  #updating: number | undefined;
  #treeAt = 0;
  #keysAt = 0;

  constructor(recordings: Recording[]) {
    this.recordings = recordings;
    this.#changedAt = recordings.map(() => Date.now());
    document.title = `${recordings.map((recording) => recording.name).join(", ")} · simrecorder`;
    this.#live = new Live(this);
    this.#tree = new Tree(byId("tree"), this);
    this.#tree.start().catch((error: Error) => this.say(error.message));
    this.#listen();
    this.#restore();
    this.#showStates();
    window.setInterval(() => this.#showStates(), 1000);
    window.setInterval(() => this.#poll(), POLL_MS);
  }

  #listen(): void {
    const search = byId("search") as HTMLInputElement;
    let timer: number | undefined;
    search.addEventListener("input", () => {
      window.clearTimeout(timer);
      timer = window.setTimeout(
        () => this.#tree.search(search.value).catch((error: Error) => this.say(error.message)),
        120,
      );
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") byId("tree").focus();
    });
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
      if (event.key !== "/" || isTyping) return;
      event.preventDefault();
      this.#openKeys(true);
      search.focus();
    });
    byId("pause").addEventListener("click", () => this.#pause());
    byId("values").addEventListener("click", () => this.#add({ form: "table", recordings: [0], keys: [] }));
    byId("toggle").addEventListener("click", () =>
      this.#openKeys(byId("toggle").getAttribute("aria-expanded") !== "true"),
    );
    install(byId("theme"), () => this.#panels.forEach((panel) => panel.redraw()));
    window.addEventListener("popstate", () => this.#restore());
    this.#openKeys(!window.matchMedia("(max-width: 700px)").matches || !location.hash);
  }

  // Requests of the tree.

  choose(recording: number, key: string, node: Node, add: boolean): void {
    const target = this.#selected ?? this.#panels[this.#panels.length - 1];
    if (add && target?.add(recording, key)) return;
    const form = formsOf(node)[0] ?? "details";
    const [, len] = node.shape ?? [];
    const keys =
      form === "lines" && len !== undefined ? (traceKeys(key, `0-${len - 1}`, len) ?? [key]) : [key];
    this.#add({ form, recordings: [recording], keys });
    if (window.matchMedia("(max-width: 700px)").matches) this.#openKeys(false);
  }

  say(text: string): void {
    byId("found").textContent = text;
  }

  // Requests of panels.

  node(recording: number, key: string): Promise<Node | undefined> {
    return this.#tree.node(recording, key);
  }

  close(panel: Panel): void {
    this.#panels.splice(this.#panels.indexOf(panel), 1);
    panel.destroy();
    if (this.#selected === panel) this.#selected = undefined;
    this.changed(true);
  }

  move(panel: Panel, by: number): void {
    const from = this.#panels.indexOf(panel);
    const to = from + by;
    if (to < 0 || to >= this.#panels.length) return;
    this.#panels.splice(to, 0, ...this.#panels.splice(from, 1));
    byId("panels").append(...this.#panels.map((panel) => panel.root));
    panel.root.scrollIntoView({ block: "nearest" });
    this.changed(true);
  }

  select(panel: Panel): void {
    this.#selected = panel;
    for (const each of this.#panels)
      each.root.classList.toggle("selected", each === panel && this.#panels.length > 1);
  }

  /** Stores the views in the address, and watches their series. */
  changed(isStep: boolean): void {
    const fragment = format(this.#panels.map((panel) => panel.view));
    const isNew = fragment !== format(parse(location.hash));
    if (isNew) history[isStep ? "pushState" : "replaceState"](null, "", fragment || location.pathname);
    byId("empty").hidden = this.#panels.length > 0;
    const watched = this.#panels.flatMap(({ view }) =>
      view.recordings.flatMap((recording) => view.keys.map((key) => `${recording}:${keyOf(key)}`)),
    );
    this.#live.watch(watched);
  }

  // Messages of the server.

  connection(connection: Connection): void {
    this.#connection = connection;
    // Changes during the interruption are unknown.
    if (connection !== "connected") this.#shown = [];
    this.#showStates();
  }

  changes(now: Change[]): void {
    now.forEach((change, index) => {
      const before = this.#now[index];
      if (before && JSON.stringify(before) !== JSON.stringify(change)) this.#changedAt[index] = Date.now();
    });
    this.#now = now;
    this.#showStates();
    if (!this.#isPaused) this.#schedule();
  }

  #schedule(): void {
    this.#updating ??= window.setTimeout(() => {
      this.#updating = undefined;
      if (!this.#isPaused) this.#update();
    }, PANELS_MS);
  }

  #update(): void {
    const [before, now] = [this.#shown, this.#now];
    this.#shown = now;
    for (const panel of this.#panels) panel.update(before, now);
    const time = Date.now();
    const isNew = now.some(({ version }, index) => version === null || version !== before[index]?.version);
    if (!isNew || before.length === 0 || time - this.#treeAt < TREE_MS) return;
    const hasKeys = time - this.#keysAt > KEYS_MS;
    this.#treeAt = time;
    if (hasKeys) this.#keysAt = time;
    this.#tree.refresh(hasKeys).catch((error: Error) => this.say(error.message));
  }

  #poll(): void {
    const isUnknown = this.#now.some(
      ({ state, version }) => version === null && (state === null || state === "recording"),
    );
    if (isUnknown && this.#connection === "connected" && !this.#isPaused && !document.hidden) this.#update();
  }

  #add(view: View): void {
    const panel = new Panel(view, this);
    this.#panels.push(panel);
    byId("panels").append(panel.root);
    this.select(panel);
    this.changed(true);
    panel.root.scrollIntoView({ block: "nearest" });
  }

  /** Shows the views in the address. */
  #restore(): void {
    for (const panel of this.#panels.splice(0)) panel.destroy();
    this.#selected = undefined;
    for (const view of parse(location.hash)) {
      const panel = new Panel(view, this);
      this.#panels.push(panel);
      byId("panels").append(panel.root);
    }
    this.changed(false);
  }

  #openKeys(isOpen: boolean): void {
    document.body.classList.toggle("without-keys", !isOpen);
    byId("toggle").setAttribute("aria-expanded", String(isOpen));
  }

  #pause(): void {
    this.#isPaused = !this.#isPaused;
    byId("pause").setAttribute("aria-pressed", String(this.#isPaused));
    byId("pause").textContent = this.#isPaused ? "Resume" : "Pause";
    if (!this.#isPaused) this.#update();
    this.#showStates();
  }

  #showStates(): void {
    const status = byId("status");
    const messages: Record<Connection, string> = {
      connecting: "",
      connected: this.#isPaused ? "Paused: the panels stay as they are" : "",
      lost: "The server cannot be reached; trying again",
      refused: "The server was restarted with another token: open the address that it printed",
    };
    if (status.textContent !== messages[this.#connection]) status.textContent = messages[this.#connection];
    status.className = this.#connection === "connected" ? "" : "alarm";
    const rows = this.recordings.map((recording, index) => {
      const state = this.#now[index]?.state ?? recording.state;
      const isKnown = this.#connection === "connected" || this.#connection === "connecting";
      // Without a version, it is unknown whether there are new commits.
      const quiet = this.#now[index]?.version === null ? 0 : Date.now() - (this.#changedAt[index] ?? 0);
      const { word, name } = stateOf(isKnown ? state : null, quiet);
      return element(
        "li",
        { title: recording.location },
        element("span", { class: "run" }, recording.name),
        element("span", { class: `state ${name}`, title: word }, word),
      );
    });
    const list = byId("recordings");
    if (list.textContent !== rows.map((row) => row.textContent).join("")) list.replaceChildren(...rows);
  }
}

ask<Recording[]>("recordings", {}).then(
  (recordings) => new Page(recordings),
  (error: unknown) => {
    const isRefused = error instanceof Refused && error.status === 403;
    byId("status").className = "alarm";
    byId("status").textContent = isRefused
      ? "Open the address that simrec serve printed; it contains a token"
      : (error as Error).message;
  },
);

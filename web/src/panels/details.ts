// All properties of a key: its type, shape, units, value and attributes.
import { ask, type Node } from "../api.ts";
import { element } from "../element.ts";
import { count, exact, isAlarming, number, short } from "../numbers.ts";
import type { Content, Frame } from "../panel.ts";

const MAX_TEXT = 20_000;

export class DetailsContent implements Content {
  readonly #frame: Frame;
  readonly #list = element("dl", { class: "details" });

  constructor(frame: Frame) {
    this.#frame = frame;
    frame.body.append(this.#list);
  }

  tools(): HTMLElement[] {
    return [];
  }

  async refresh(signal: AbortSignal): Promise<void> {
    const { recordings, keys } = this.#frame.view;
    const node = await ask<Node>("node", { recording: recordings[0], key: keys[0] }, signal);
    // The units are already shown.
    const attributes = Object.entries(node.attributes ?? {}).filter(([name]) => name !== "units");
    const rows = [
      ...known(node),
      ...attributes.map(([name, value]) => [`attribute ${name}`, value] as const),
    ];
    this.#list.replaceChildren(
      ...rows.flatMap(([name, value]) => [
        element("dt", {}, name),
        element("dd", { class: isAlarming(value) ? "alarm" : "" }, exact(value, MAX_TEXT)),
      ]),
    );
  }

  redraw(): void {}

  destroy(): void {
    this.#list.remove();
  }
}

/** The properties of a node, except its attributes. */
export function known(node: Node): (readonly [string, unknown])[] {
  const { coordinate } = node;
  const rows: (readonly [string, unknown])[] = [
    ["error", node.error],
    ["value", node.value],
    [
      "kind",
      node.record_kind && node.record_kind !== "array" ? `${node.kind}, ${node.record_kind}` : node.kind,
    ],
    ["type", node.dtype],
    ["shape", node.shape?.map(count).join(" × ")],
    ["units", node.units],
    [
      "coordinate",
      coordinate && `${coordinate.name}, from ${short(coordinate.first)} to ${short(coordinate.last)}`,
    ],
    ["chunks", node.chunks?.map(count).join(" × ")],
    ["compression", node.codec],
    ["stored bytes", node.stored_bytes === undefined ? undefined : count(node.stored_bytes)],
    ["ratio", node.ratio === undefined ? undefined : number(node.ratio, 3)],
  ];
  return rows.filter(([, value]) => value !== undefined && value !== "");
}

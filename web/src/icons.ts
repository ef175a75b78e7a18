// Icons of kinds of series, and sparklines.
import type { Node, Sparkline } from "./api.ts";
import { svg } from "./element.ts";
import { formsOf } from "./forms.ts";

const PATHS: Record<string, string> = {
  group: "M5 3l4 4-4 4",
  lines: "M1 10l3-5 3 3 3-6 3 4",
  "heat-map": "M2 2h10v10H2zM2 7h10M7 2v10",
  image: "M2 3h10v8H2zM2 10l3-3 2 2 2-3 3 3",
  raster: "M3 3v2M7 2v2M11 4v2M4 9v2M8 8v2M11 10v2",
  histogram: "M3 12V7M7 12V3M11 12V9",
  records: "M2 4h10M2 7h10M2 10h6",
  details: "M3 5h8M3 9h8",
};

/** The kind of drawing of a series. */
export function icon(node: Node | undefined, kind: string): SVGElement {
  const name =
    kind === "group" || kind === "recording"
      ? "group"
      : kind === "value"
        ? "details"
        : node
          ? (formsOf(node)[0] ?? "details")
          : "";
  return svg(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 14 14", "aria-hidden": "true" },
    svg("path", { d: PATHS[name] ?? "" }),
  );
}

const WIDTH = 56;
const HEIGHT = 16;

/** The band from the smallest to the largest number, as a path. */
export function sparkPath({ min, max }: Sparkline, width = WIDTH, height = HEIGHT): string {
  const finite = [...min, ...max].filter((x): x is number => typeof x === "number");
  if (finite.length === 0) return "";
  const low = finite.reduce((a, b) => Math.min(a, b));
  const high = finite.reduce((a, b) => Math.max(a, b));
  const y = (x: number): string =>
    (high > low ? 1 + (1 - (x - low) / (high - low)) * (height - 2) : height / 2).toFixed(1);
  let path = "";
  let isDown = false;
  min.forEach((least, index) => {
    const most = max[index];
    if (typeof least !== "number" || typeof most !== "number") {
      isDown = false;
      return;
    }
    const x = ((index / Math.max(min.length - 1, 1)) * width).toFixed(1);
    path += `${isDown ? "L" : "M"}${x} ${y(most)}${least === most ? (isDown ? "" : `h0.1`) : `L${x} ${y(least)}`}`;
    isDown = true;
  });
  return path;
}

export function sparkline(of: Sparkline): SVGElement {
  const alarm = of.nan > 0 ? " alarm" : "";
  return svg(
    "svg",
    { class: `spark${alarm}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" },
    svg("path", { d: sparkPath(of) }),
  );
}

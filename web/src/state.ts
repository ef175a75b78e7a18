// The state of a simulation, in a word.
import type { State } from "./api.ts";

/** After this time without a commit, a recording simulation is called stalled. */
export const STALLED_MS = 15_000;

/** The word for a state, and the name of its colour. */
export function stateOf(state: State, quietMs: number): { word: string; name: string } {
  if (state === "recording" && quietMs > STALLED_MS)
    return { word: `stalled: no news for ${duration(quietMs)}`, name: "stalled" };
  if (state === "recording") return { word: "recording", name: "recording" };
  if (state === "killed") return { word: "killed", name: "killed" };
  if (state === "ended") return { word: "ended", name: "ended" };
  if (state) return { word: state.error, name: "killed" };
  return { word: "", name: "unknown" };
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

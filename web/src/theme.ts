// Light and dark: the system's setting, unless the user chooses.

/** Colours that colour-blind people can distinguish, from each other and from the background; after Okabe and Ito, as in `simrec plot`. */
const LIGHT = ["#0072b2", "#c44e00", "#007a58", "#a8477f", "#86660a", "#2b8fc4", "#5f5f5f"];
const DARK = ["#56b4e9", "#f08a4b", "#2fc49a", "#e08fc0", "#e6c04f", "#8fa8ff", "#b4b4b4"];

const system = window.matchMedia("(prefers-color-scheme: dark)");

export function isDark(): boolean {
  const chosen = document.documentElement.dataset["theme"];
  return chosen ? chosen === "dark" : system.matches;
}

/** The colour of the line with this number. */
export function lineColour(index: number): string {
  const colours = isDark() ? DARK : LIGHT;
  return colours[index % colours.length] as string;
}

/** A colour of the style sheet, such as `--grid`. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Makes a button switch the theme, and calls `changed` after each change. */
export function install(button: HTMLElement, changed: () => void): void {
  const apply = (): void => {
    button.setAttribute("aria-pressed", String(isDark()));
    changed();
  };
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset["theme"] = kept;
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset["theme"] = next;
    localStorage.setItem("theme", next);
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}

// Creates elements. Text is always text: keys and records of a recording never become HTML.

type Attributes = Record<string, string | number | boolean | undefined | ((event: Event) => void)>;

/** Creates an element with attributes, listeners (`onclick`) and children. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  set(made, attributes);
  made.append(...children);
  return made;
}

/** Creates an SVG element. */
export function svg<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Attributes,
  ...children: Node[]
): SVGElementTagNameMap[Name] {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(made, attributes);
  made.append(...children);
  return made;
}

function set(made: Element, attributes: Attributes): void {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key.replace(/^on/, ""), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, String(value));
  }
}

/** The element of the page with this id. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element '${id}'`);
  return found;
}

/** A toggle button. */
export function toggle(
  label: string,
  title: string,
  isPressed: boolean,
  change: (isPressed: boolean) => void,
): HTMLButtonElement {
  const button = element(
    "button",
    {
      type: "button",
      title,
      "aria-pressed": String(isPressed),
      onclick: () => {
        const now = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(now));
        change(now);
      },
    },
    label,
  );
  return button;
}

/** A list for choosing a value. */
export function choice<Value extends string | number>(
  label: string,
  options: (readonly [Value, string])[],
  chosen: Value,
  change: (value: Value) => void,
): HTMLSelectElement {
  const select = element("select", {
    "aria-label": label,
    title: label,
    onchange: () => {
      const option = options[select.selectedIndex];
      if (option) change(option[0]);
    },
  });
  for (const [value, text] of options) select.append(element("option", { selected: value === chosen }, text));
  return select;
}

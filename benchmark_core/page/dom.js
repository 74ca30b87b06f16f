// Elements, numbers and texts. Whatever comes from a record enters the page as text, never as markup.

const SVG_NAMES = new Set(["svg", "line", "circle", "rect", "path", "text", "g"]);
const MINUS = "\u2212";
const NONE = "\u2013";

/** Make an element: attributes by name (`on…` are listeners, null and false are left out), then children. */
function el(name, attributes = {}, ...children) {
  const node = SVG_NAMES.has(name)
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const byId = (id) => document.getElementById(id);
const known = (value) => typeof value === "number" && Number.isFinite(value);
const hidden = (text) => el("span", { class: "hidden" }, text);

/** Write a number: three decimals below 10, fewer above. */
function number(value, digits = 3) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 100) return whole(Math.round(value));
  const text = size.toFixed(size >= 10 ? 1 : digits);
  return (value < 0 && Number(text) !== 0 ? MINUS : "") + text;
}

/** Write a whole number in groups of three digits. */
function whole(value) {
  return known(value) ? String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f").replace("-", MINUS) : NONE;
}

function interval(row) {
  if (!known(row.ci_low) || !known(row.ci_high)) return NONE;
  return `${number(row.ci_low)} to ${number(row.ci_high)}`;
}

/** Write any plain value on a card. */
function plainText(value) {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") {
    if (Number.isInteger(value)) return whole(value);
    const size = Math.abs(value);
    return size < 1e-3 || size >= 1e6 ? value.toExponential(2).replace("-", MINUS) : number(value);
  }
  if (Array.isArray(value)) return value.map(plainText).join(", ");
  if (typeof value === "object") return Object.entries(value).map(([k, v]) => `${k} ${plainText(v)}`).join(", ");
  return String(value);
}

const words = (name) => name.replaceAll("_", " ");

/** A long identifier that may be broken after its punctuation; parameters in a lighter ink. */
function identifier(text) {
  const at = text.includes(" + ") ? -1 : text.indexOf(":");
  const broken = (part) => part.split(/(?<=[:,/_+])/).flatMap((piece) => [piece, el("wbr")]);
  if (at < 0) return [...broken(text)];
  return [...broken(text.slice(0, at)), el("span", { class: "parameters" }, broken(text.slice(at)))];
}

/** A list of names and values. */
function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const long = (value) => (value.textContent ?? value).length > 28;
  return el("dl", { class: "facts" }, shown.map(([name, value]) => el("div", { class: long(value) ? "wide" : null }, el("dt", {}, name), el("dd", {}, value))));
}

/** A table with a caption; cells are texts or elements, `right` says which columns hold numbers. */
function table(caption, headings, rows, right = []) {
  const kind = (i) => ({ class: right.includes(i) ? "number" : null });
  const head = el("tr", {}, headings.map((text, i) => el("th", { scope: "col", ...kind(i) }, text)));
  const body = rows.map((cells) =>
    el("tr", {}, cells.map((cell, i) => (i === 0 ? el("th", { scope: "row" }, cell) : el("td", kind(i), cell)))),
  );
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", { class: "hidden" }, caption), el("thead", {}, head), el("tbody", {}, body)),
  );
}

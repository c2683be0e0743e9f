"use strict";
// The page is whole without this script. It adds sorting, toggles, read-outs and the color switch.
const every = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (name, attributes) => {
  const svg = ["line", "circle"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  return element;
};

// Colors: the system's, unless the reader has chosen; a choice that agrees with it is forgotten.
const KEY = "safecompress-report-colors";
const system = matchMedia("(prefers-color-scheme: dark)");
const remembered = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
const remember = (scheme) => {
  try { scheme ? localStorage.setItem(KEY, scheme) : localStorage.removeItem(KEY); } catch { /* Not allowed here. */ }
};
const isDark = () => (document.documentElement.dataset.scheme || (system.matches ? "dark" : "light")) === "dark";
if (["dark", "light"].includes(remembered())) document.documentElement.dataset.scheme = remembered();

function addColorSwitch() {
  const button = make("button", { type: "button", class: "switch" });
  button.textContent = "Dark colors";
  const show = () => button.setAttribute("aria-pressed", isDark());
  button.addEventListener("click", () => {
    const scheme = isDark() ? "light" : "dark";
    document.documentElement.dataset.scheme = scheme;
    remember((scheme === "dark") === system.matches ? null : scheme);
    show();
  });
  system.addEventListener("change", show);
  show();
  document.querySelector(".top").append(button);
}

// Sorting: within each group of rows; a group's heading stays on top.
const compare = (a, b) => {
  const x = Number(a), y = Number(b);
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
};
const keyOf = (row, column) => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();

function sortRows(body, column, falling) {
  const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
  rows.sort((left, right) => {
    const a = keyOf(left, column), b = keyOf(right, column);
    // What was not measured stays at the end, whichever way round.
    if (a === "" || b === "") return (a === "") - (b === "");
    return falling ? compare(b, a) : compare(a, b);
  });
  body.append(...rows);
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if ("unsorted" in head.dataset) return;
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      [...table.tBodies].forEach((body) => sortRows(body, column, falling));
    });
  });
  table.classList.add("sorts");
}

// Legends: an entry shows or hides its series in the plots around it.
function makeToggle(entry) {
  const plots = entry.closest("[data-plots]");
  const series = every("[data-series]", plots).filter((mark) => mark.dataset.series === entry.dataset.toggle);
  if (!series.length) return;
  const button = make("button", { type: "button", "aria-pressed": true });
  button.append(...entry.childNodes);
  entry.append(button);
  button.addEventListener("click", () => {
    const hidden = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", !hidden);
    series.forEach((mark) => mark.classList.toggle("off", hidden));
    every("svg[data-reads]", plots).forEach((plot) => plot.dispatchEvent(new Event("redraw")));
  });
}

// Read-outs: a line follows the pointer, or the arrow keys, and tells every series' figure there.
const readScale = (words) => {
  const [low, high, start, stop, kind] = words.split(" ").map((word, i) => (i < 4 ? Number(word) : word));
  return {
    low, start, stop, at(px) {
      const share = (px - start) / (stop - start);
      return kind === "log" ? low * (high / low) ** share : low + share * (high - low);
    },
  };
};
const percent = (share) => `${share === 0 || share >= 0.001 ? (100 * share).toFixed(1) : (100 * share).toPrecision(2)}%`;
const plain = (value) => value.toFixed(2).replace("-", "−");
const HINT = "Point at the plot, or use the arrow keys, to read figures.";

function addReadOut(plot) {
  const x = readScale(plot.dataset.x), y = readScale(plot.dataset.y), bins = plot.dataset.reads === "bins";
  const series = every("path[data-series]", plot).map((path) => {
    const points = path.getAttribute("d").slice(1).split("L").map((point) => point.split(" ").map(Number));
    const dot = make("circle", { class: "reader off", r: 3.5 });
    return { path, points, dot, name: path.dataset.series };
  });
  const line = make("line", { class: "reader off", y1: y.start, y2: y.stop });
  const words = make("p", { class: "readout" });
  words.textContent = HINT;
  plot.append(line, ...series.map((one) => one.dot));
  plot.after(words);
  let place = null;

  const marks = () => [line, ...series.map((one) => one.dot)];
  const rate = (px) => (!bins && px >= y.start ? `at most ${percent(y.low)}` : percent(y.at(px)));
  const edges = bins ? [...new Set(series[0].points.map(([px]) => px))] : [];
  const where = () => {
    if (!bins) return `At ${plot.dataset.unit} ${percent(x.at(place))}, TPR`;
    const next = Math.max(1, edges.findIndex((px) => px > place));
    return `${plot.dataset.unit}, ${plain(x.at(edges[next - 1]))} to ${plain(x.at(edges[next]))}`;
  };
  const draw = () => {
    marks().forEach((mark) => mark.classList.toggle("off", place === null));
    if (place === null) { words.textContent = HINT; return; }
    line.setAttribute("x1", place);
    line.setAttribute("x2", place);
    const told = series.map(({ path, points, dot, name }) => {
      // The last recorded point at or before the line: nothing is read between two of them.
      const [px, py] = points.findLast(([px]) => px <= place + 0.01) ?? points[0];
      dot.classList.toggle("off", path.classList.contains("off"));
      dot.setAttribute("cx", bins ? place : px);
      dot.setAttribute("cy", py);
      return path.classList.contains("off") ? "" : `${name} ${rate(py)}`;
    });
    words.textContent = `${where()}: ${told.filter(Boolean).join(", ")}.`;
    plot.setAttribute("aria-valuenow", x.at(place));
    plot.setAttribute("aria-valuetext", words.textContent);
  };
  const move = (px) => {
    // The end of the last bin belongs to it.
    place = Math.min(Math.max(px, bins ? edges[0] : x.start), bins ? edges.at(-1) - 0.02 : x.stop);
    draw();
  };
  const middle = (x.start + x.stop) / 2;
  // Where the arrow keys stop: in every bin, or twenty times a decade.
  const stops = bins
    ? edges.slice(1).map((px, i) => (px + edges[i]) / 2)
    : Array.from({ length: 61 }, (_, i) => x.start + (i / 60) * (x.stop - x.start));
  const back = () => stops.findLast((px) => px < place - 0.01) ?? stops[0];
  const forth = () => stops.find((px) => px > place + 0.01) ?? stops.at(-1);
  const keys = {
    ArrowLeft: back, ArrowDown: back, ArrowRight: forth, ArrowUp: forth, Home: () => stops[0], End: () => stops.at(-1),
  };
  plot.addEventListener("keydown", (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    place ??= middle;
    move(keys[event.key]());
  });
  const follow = (event) => move(new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse()).x);
  const leave = () => { place = null; draw(); };
  plot.addEventListener("pointermove", follow);
  plot.addEventListener("pointerdown", follow);
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("focus", () => { if (place === null) move(middle); });
  plot.addEventListener("blur", leave);
  plot.addEventListener("redraw", draw);
  const range = { "aria-valuemin": x.at(x.start), "aria-valuemax": x.at(x.stop), "aria-valuenow": x.at(middle) };
  Object.entries({ role: "slider", tabindex: 0, "aria-valuetext": HINT, ...range }).forEach(([key, value]) => plot.setAttribute(key, value));
}

// A link to a folded section opens it.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const section = target && target.closest(".fold");
  if (section) section.querySelector("details").open = true;
}
window.addEventListener("hashchange", unfold);

// On paper everything is open; afterwards as it was.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = every("details:not([open])");
  opened.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));

document.addEventListener("DOMContentLoaded", () => {
  unfold();
  every("nav a").forEach((link) => link.addEventListener("click", () => setTimeout(unfold)));
  addColorSwitch();
  every("table[data-sortable]").forEach(makeSortable);
  every("[data-toggle]").forEach(makeToggle);
  every("svg[data-reads]").forEach(addReadOut);
});

"use strict";
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return "key" in cell.dataset ? cell.dataset.key : cell.textContent.trim();
  };
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...body.rows].sort((left, right) => {
        const a = keyOf(left, column), b = keyOf(right, column);
        // What was not measured stays at the end, whichever way round.
        if (a === "" || b === "") return (a === "") - (b === "");
        return falling ? compare(b, a) : compare(a, b);
      });
      body.append(...rows);
    });
  });
}
const openAll = () => document.querySelectorAll("details").forEach((d) => { d.open = true; });
window.addEventListener("beforeprint", openAll);

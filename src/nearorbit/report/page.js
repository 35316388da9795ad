"use strict";
// Tables are sorted by the column whose head is clicked: up, down, and as they were. What is no number stands last.
const number = (cell) => parseFloat(cell.textContent.replace("−", "-").replace("∞", "Infinity"));
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.firstChild.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[head.ariaSort] ?? "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== "none") head.ariaSort = next;
      const cells = rows.map((row) => row.cells[column]);
      const numeric = cells.some((cell) => !isNaN(number(cell)) && /^[-−∞\d.]/.test(cell.textContent.trim()));
      const sign = next === "descending" ? -1 : 1;
      const compare = (a, b) => {
        const [one, other] = [a, b].map((row) => row.cells[column]);
        if (!numeric) return sign * one.textContent.localeCompare(other.textContent, "en", { numeric: true });
        const [x, y] = [number(one), number(other)];
        return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : sign * (x - y || 0);
      };
      body.append(...(next === "none" ? rows : [...rows].sort(compare)));
    });
  });
}
// A figure opens in full, pixel for pixel; its link saves the image that is shown, which is on the page once.
const dialog = document.querySelector("dialog"), place = dialog.querySelector("div");
for (const figure of document.querySelectorAll("#figures figure")) {
  const image = figure.querySelector("img");
  figure.querySelector("a").href = image.src;
  figure.querySelector("button").addEventListener("click", () => {
    place.replaceChildren(image.cloneNode());
    dialog.showModal();
  });
}
place.addEventListener("click", () => dialog.close());
dialog.querySelector("button").addEventListener("click", () => dialog.close());

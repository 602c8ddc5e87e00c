
"use strict";
// Without this script the tables stand in the published order; with it, headers are buttons that sort.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);

  const compare = (a, b, sign) => {
    const [x, y] = [a, b].map((row) => row.cell.dataset.value);
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    const difference = Number(x) - Number(y);
    return sign * (Number.isNaN(difference) ? x.localeCompare(y) : difference);
  };

  heads.forEach((head, column) => {
    if (!head.dataset.first) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      const order = was === null ? head.dataset.first : was === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const rows = Array.from(body.rows, (row) => ({ row, cell: row.cells[column] }));
      rows.sort((a, b) => compare(a, b, order === "ascending" ? 1 : -1));
      body.append(...rows.map((entry) => entry.row));
    });
  });
}

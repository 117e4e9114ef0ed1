// A box above each long table that hides the rows without all of its words.
"use strict";

const LONG = 12;

for (const table of document.querySelectorAll("article table")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < LONG) continue;

  const box = document.createElement("input");
  box.type = "search";
  box.className = "row-filter";
  box.placeholder = `Filter ${rows.length} rows`;
  box.setAttribute("aria-label", "Filter the rows of the table below");
  const count = document.createElement("output");
  count.className = "row-count";

  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
  const place = table.closest(".table-wrapper") ?? table;
  place.before(box, count);
}

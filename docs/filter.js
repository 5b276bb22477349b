// Model zoo: a box above each table of class "zoo" keeps the rows that contain every typed word.
document.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("zoo-filter");
  if (!box) return;
  const rows = [...document.querySelectorAll(".zoo tbody tr")];
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
});

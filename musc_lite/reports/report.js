// What a report adds to its galleries: verdicts that stay in the browser and in tables, larger maps beside the report.
// zoom.js, gallery.js and verdicts.js come before it.

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function onOthers(names) {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return `verdicts on other images, or on files that have changed: ${names.slice(0, 3).join(", ")}${more}`;
}

// Take the larger picture of the map where the report lies beside it; else what is inside of the report stays.
function enlargeMap(gallery, card, [left, top, right, bottom]) {
  const link = card.querySelector("a.map");
  const img = gallery.dialog.querySelector("[data-pane=map] img");
  if (!link) return;
  const larger = new Image();
  larger.onload = () => {
    if (!img.isConnected) return;
    const [width, height] = [right - left, bottom - top]; // it is of the whole photo; what is shown is the region
    const [x, y] = [`${(-100 * left) / width}%`, `${(-100 * top) / height}%`];
    Object.assign(img.style, { inset: "auto", left: x, top: y, width: `${100 / width}%`, height: `${100 / height}%` });
    img.src = larger.src;
  };
  larger.src = link.href;
}

async function load(file, marks, say) {
  const [chosen] = file.files;
  if (!chosen) return;
  try {
    const rows = readTable(new Uint8Array(await chosen.arrayBuffer()));
    const others = marks.take(rows);
    const left = others.length ? `; ${onOthers(others)}` : "";
    say(`Took ${rows.length - others.length} rows of ${chosen.name}${left}.`);
  } catch (error) {
    say(`${chosen.name} is no table of verdicts: ${error.message}.`);
  }
  file.value = "";
}

let active = null; // the gallery that keys go to while nothing has the focus
const galleries = [...document.querySelectorAll(".musc-gallery")].map((section) => {
  const data = JSON.parse(section.querySelector("script").textContent);
  const marks = new Marks(data);
  const gallery = new Gallery(section, marks, (card) => enlargeMap(gallery, card, data.region));
  const say = (text) => (gallery.part("said").textContent = text);
  marks.changed = () => {
    gallery.render();
    showClasses();
  };
  section.addEventListener("focusin", () => (active = gallery));
  const file = section.querySelector("input[type=file]");
  file.addEventListener("change", () => load(file, marks, say));
  gallery.part("load").addEventListener("click", () => file.click());
  gallery.part("save").addEventListener("click", () => {
    download(data.file, marks.table());
    marks.saved();
  });
  if (marks.strangers.length) say(`${onOthers(marks.strangers)}.`);
  return gallery;
});
active = galleries[0];

function showClasses() {
  const classes = new Set(galleries.flatMap(({ book }) => [...book.records.values()].map((record) => record.class)));
  classes.delete("");
  document.getElementById("classes").replaceChildren(...[...classes].sort().map((name) => new Option(name)));
}

showClasses();
document.addEventListener("keydown", (event) => !event.target.closest(".musc-gallery") && active?.press(event));
window.addEventListener("beforeunload", (event) => {
  if (galleries.some(({ book }) => book.unsaved)) event.preventDefault();
});

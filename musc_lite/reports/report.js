// The galleries of a report: marks by click and key, filters, tables of verdicts, one image large.

const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
const KEYS = { g: "good", b: "bad", u: "unsure" };
const controls = document.getElementById("controls");

function showControls(node, record) {
  for (const button of node.querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", button.dataset.verdict === record.verdict);
  }
  for (const field of node.querySelectorAll("[data-field]")) {
    const value = record[field.dataset.field];
    if (field.value !== value) field.value = value;
  }
  const told = [record.class, record.note].filter(Boolean).join(": ");
  node.querySelector("summary").textContent = told ? `note: ${told}` : "note";
  node.querySelector("details").classList.toggle("filled", told !== "");
}

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

class Gallery {
  constructor(section) {
    const data = JSON.parse(section.querySelector("script").textContent);
    Object.assign(this, { section, region: data.region, nImages: data.n_images, fileName: data.file, current: null });
    this.cards = [...section.querySelectorAll(".card")];
    this.places = new Map(this.cards.map((card, place) => [card, place]));
    for (const card of this.cards) card.append(controls.content.cloneNode(true));
    if (this.cards.length) this.cards[0].tabIndex = 0;
    this.marks = new Marks(data);
    this.marks.changed = () => this.render();
    for (const part of section.querySelectorAll(":is(.tools, .bar)")) part.hidden = false;
    this.listen();
    this.render();
    if (this.marks.strangers.length) this.say(`${onOthers(this.marks.strangers)}.`);
  }

  part(name) {
    return this.section.querySelector(`[data-${name}]`);
  }

  say(text) {
    this.part("said").textContent = text;
  }

  listen() {
    this.section.addEventListener("focusin", ({ target }) => {
      const card = target.closest(".card");
      if (card) this.setCurrent(card);
    });
    this.section.addEventListener("click", (event) => this.click(event));
    this.section.addEventListener("input", ({ target }) => {
      const { field } = target.dataset;
      if (field) this.marks.set(this.places.get(target.closest(".card")), { [field]: target.value });
    });
    for (const select of this.section.querySelectorAll("[data-filter]")) {
      select.addEventListener("change", () => {
        this.setCurrent(null);
        this.filter();
      });
    }
    const file = this.section.querySelector("input[type=file]");
    this.part("load").addEventListener("click", () => file.click());
    file.addEventListener("change", () => this.load(file));
    this.part("save").addEventListener("click", () => this.save());
  }

  click({ target }) {
    const card = target.closest(".card");
    if (!card) return;
    if (target.closest("[data-verdict]:is(button)")) {
      this.marks.toggle(this.places.get(card), target.closest("button").dataset.verdict);
    } else if (target.closest(".open")) openLarge(this, card);
    else if (target.closest(".closely")) card.classList.toggle("large");
    else if (!target.closest("a, summary, input, textarea")) this.focus(card);
  }

  focus(card) {
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  setCurrent(card) {
    if (card === this.current) return;
    if (card) active = this;
    this.current?.classList.remove("current");
    if (card) {
      for (const each of this.cards) each.tabIndex = each === card ? 0 : -1;
      card.classList.add("current");
    }
    this.current = card;
    this.filter();
  }

  render() {
    this.cards.forEach((card, place) => {
      const record = this.marks.of(place);
      card.toggleAttribute("data-verdict", record.verdict !== "");
      if (record.verdict) card.dataset.verdict = record.verdict;
      showControls(card.querySelector(".controls"), record);
    });
    const counts = VERDICTS.map((verdict) => `${this.marks.count(verdict)} ${verdict}`).join(", ");
    this.part("counts").textContent = `${counts} of ${this.nImages}${this.marks.unsaved ? ", not saved yet" : ""}`;
    this.filter();
    renderShared();
  }

  // The current image stays, though its new verdict may not fit: it goes when the next one becomes current.
  filter() {
    const [outlier, verdict] = ["outlier", "verdict"].map((name) => this.section.querySelector(`[data-filter=${name}]`).value);
    this.cards.forEach((card, place) => {
      const fits = !outlier || (outlier === "out") === card.hasAttribute("data-outlier");
      const found = this.marks.of(place).verdict;
      card.hidden = card !== this.current && !(fits && (!verdict || (verdict === "none" ? !found : found === verdict)));
    });
    const n = this.shown().length;
    const hidden = this.cards.length - n;
    const missing = this.nImages - this.cards.length;
    this.part("shown").textContent =
      (hidden ? `${n} shown, ${hidden} hidden by the filter` : `all ${n} shown`) + (missing ? `, ${missing} not in here` : "");
  }

  shown() {
    return this.cards.filter((card) => !card.hidden);
  }

  // The image that many steps on, or in the next row at about the same place.
  neighbor(across, down) {
    const cards = this.shown();
    const at = cards.indexOf(this.current);
    if (at < 0) return cards[0];
    if (across) return cards[at + across];
    const box = this.current.getBoundingClientRect();
    const rest = down > 0 ? cards.slice(at + 1) : cards.slice(0, at).reverse();
    const apart = (card) => (card.getBoundingClientRect().top - box.top) * down;
    const row = rest.find((card) => apart(card) > 1);
    if (!row) return undefined;
    const top = row.getBoundingClientRect().top;
    const besides = rest.filter((card) => Math.abs(card.getBoundingClientRect().top - top) < 1);
    const aside = (card) => Math.abs(card.getBoundingClientRect().left - box.left);
    return besides.reduce((best, card) => (aside(card) < aside(best) ? card : best));
  }

  save() {
    download(this.fileName, this.marks.table());
    this.marks.saved();
  }

  async load(file) {
    const [chosen] = file.files;
    if (!chosen) return;
    try {
      const rows = readTable(new Uint8Array(await chosen.arrayBuffer()));
      const others = this.marks.take(rows);
      const left = others.length ? `; ${onOthers(others)}` : "";
      this.say(`Took ${rows.length - others.length} rows of ${chosen.name}${left}.`);
    } catch (error) {
      this.say(`${chosen.name} is no table of verdicts: ${error.message}.`);
    }
    file.value = "";
  }
}

const lightbox = new Lightbox(document.querySelector("dialog.lightbox"));
const large = { gallery: null, card: null };
lightbox.dialog.querySelector(".zoom").before(controls.content.cloneNode(true));
const largeControls = lightbox.dialog.querySelector(".controls");

function openLarge(gallery, card) {
  gallery.setCurrent(card);
  Object.assign(large, { gallery, card });
  const rank = gallery.shown().indexOf(card) + 1;
  const about = [...card.querySelectorAll(".badge")].map((badge) => badge.textContent);
  const place = gallery.places.get(card);
  lightbox.show(card, gallery.region, [gallery.marks.images[place][0], [`${rank} of ${gallery.shown().length} shown`, ...about].join(", ")]);
  showControls(largeControls, gallery.marks.of(place));
}

function stepLarge(step) {
  const next = large.gallery.neighbor(step, 0);
  if (next) openLarge(large.gallery, next);
}

function renderShared() {
  if (large.card) showControls(largeControls, large.gallery.marks.of(large.gallery.places.get(large.card)));
  const classes = new Set(galleries.flatMap(({ marks }) => [...marks.records.values()].map((record) => record.class)));
  classes.delete("");
  document.getElementById("classes").replaceChildren(...[...classes].sort().map((name) => new Option(name)));
}

function showBoxes(shown) {
  document.body.classList.toggle("no-boxes", !shown);
  for (const box of document.querySelectorAll("[data-boxes]")) box.checked = shown;
}

lightbox.dialog.addEventListener("click", ({ target }) => {
  const { verdict, zoom, step, close } = target.closest("button")?.dataset ?? {};
  if (verdict) large.gallery.marks.toggle(large.gallery.places.get(large.card), verdict);
  if (zoom) lightbox.zoom(Number(zoom));
  if (step) stepLarge(Number(step));
  if (close !== undefined) lightbox.dialog.close();
});
lightbox.dialog.addEventListener("input", ({ target }) => {
  const { field } = target.dataset;
  if (field) large.gallery.marks.set(large.gallery.places.get(large.card), { [field]: target.value });
});
lightbox.dialog.addEventListener("close", () => large.gallery.focus(large.card));
document.addEventListener("change", ({ target }) => target.matches("[data-boxes]") && showBoxes(target.checked));

let active = null;
const galleries = [];
for (const section of document.querySelectorAll(".marking")) galleries.push(new Gallery(section));
active ??= galleries[0];

// What a key does, true where it did something; arrows scroll the page until an image was chosen.
function act(key, event) {
  const isOpen = lightbox.dialog.open;
  const inside = isOpen || event.target.closest(".card");
  const letters = { j: [1, 0], k: [-1, 0] };
  const step = letters[key] ?? (inside ? STEPS[key] : undefined);
  if (isOpen && event.shiftKey && STEPS[key]) return lightbox.move(-80 * STEPS[key][0], -80 * STEPS[key][1]), true;
  if (isOpen && step) return stepLarge(step[0] + step[1]), true;
  if (step) {
    const next = active.neighbor(...step);
    if (next) active.focus(next);
    return true;
  }
  if (key === "o") return showBoxes(document.body.classList.contains("no-boxes")), true;
  if (isOpen && "+=-0".includes(key)) return key === "0" ? lightbox.reset() : lightbox.zoom(key === "-" ? 0.5 : 2), true;
  if (!active.current || event.repeat) return false;
  const place = active.places.get(active.current);
  if (KEYS[key]) return active.marks.toggle(place, KEYS[key]), true;
  if (key === "x") return active.marks.set(place, { verdict: "" }), true;
  if (key === "Enter" && event.target === active.current) return openLarge(active, active.current), true;
  return false;
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !active) return;
  if (act(event.key.length === 1 ? event.key.toLowerCase() : event.key, event)) event.preventDefault();
});
window.addEventListener("beforeunload", (event) => {
  if (galleries.some(({ marks }) => marks.unsaved)) event.preventDefault();
});

// The gallery of the report and of the app: cards of gallery.html.jinja are filtered, marked by key and click, enlarged.
// zoom.js comes before it.

const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
const LETTERS = { j: [1, 0], k: [-1, 0] };

// One image large, photo and map side by side: both are zoomed and moved together.
class Large {
  constructor(dialog) {
    Object.assign(this, { dialog, zoom: makeZoom() });
    for (const pane of dialog.querySelectorAll(".pane")) {
      const [zoomOf, changed] = [() => this.zoom, () => this.draw()];
      listenToZoom(pane, { zoomOf, changed, frameOf: () => this.frameOf(pane), alone: true });
    }
    dialog.querySelector("[data-zoom]").append(...zoomButtons((factor) => this.zoomBy(factor)));
  }

  // Where the whole picture of a pane lies on the page when it is not enlarged.
  frameOf(pane) {
    const { left, top, width, height } = pane.querySelector(".frame").getBoundingClientRect();
    const [times, [x, y]] = [this.zoom.times(), this.zoom.corner()];
    return { left: left + x * width, top: top + y * height, width: width / times, height: height / times };
  }

  draw() {
    const [times, [x, y]] = [this.zoom.times(), this.zoom.corner()];
    for (const frame of this.dialog.querySelectorAll(".pane .frame")) {
      frame.style.transform = `scale(${times}) translate(${-100 * x}%, ${-100 * y}%)`;
    }
    this.dialog.style.setProperty("--zoom", times);
  }

  zoomBy(factor) {
    this.zoom.zoomBy(factor);
    this.draw();
  }

  moveBy(x, y) {
    const { width, height } = this.frameOf(this.dialog.querySelector("[data-pane=map]"));
    this.zoom.moveBy([x / width, y / height]);
    this.draw();
  }

  // Copies of what the card shows: its photo, and its map, which may lie over the photo.
  show(card) {
    for (const [name, kind] of [["photo", ".photo"], ["map", ".map, .heat"]]) {
      const pane = this.dialog.querySelector(`[data-pane=${name}]`);
      const frame = card.querySelector(`.frame :is(${kind})`)?.parentElement.cloneNode(true);
      if (name === "photo") frame?.querySelector(".heat")?.remove();
      for (const image of frame?.querySelectorAll("img") ?? []) image.draggable = false;
      pane.replaceChildren(...(frame ? [frame] : []));
      pane.hidden = !frame;
    }
    this.dialog.style.setProperty("--ratio", card.style.getPropertyValue("--ratio"));
    this.zoomBy(0);
    if (this.dialog.open) return;
    this.dialog.showModal();
    this.dialog.focus(); // not its first button: another Enter would give a verdict
  }
}

class Gallery {
  // The book holds what was found: of(place) is a record with its verdict, set(place, change) changes it, and calls
  // render() sooner or later. fetchLarge(card, place) may have larger pictures shown.
  constructor(section, book, fetchLarge) {
    Object.assign(this, { section, book, fetchLarge, current: null });
    this.dialog = section.querySelector("dialog");
    this.large = new Large(this.dialog);
    this.cards = [...section.querySelectorAll(".card")];
    this.nImages = Number(section.dataset.images ?? this.cards.length); // some are left out of a large report
    this.places = new Map(this.cards.map((card, place) => [card, place]));
    const controls = section.querySelector("template").content;
    this.verdicts = [...controls.querySelectorAll("[data-verdict]")].map((button) => button.dataset.verdict);
    for (const card of [...this.cards, this.dialog.querySelector("header")]) card.append(controls.cloneNode(true));
    for (const card of this.cards) this.setReachable(card, card === this.cards[0]);
    for (const part of section.querySelectorAll(":is(.tools, .bar)")) part.hidden = false;
    this.listen();
    this.render();
  }

  part(name) {
    return this.section.querySelector(`[data-${name}]`);
  }

  listen() {
    this.section.addEventListener("focusin", ({ target }) => {
      const card = target.closest(".card");
      if (card) this.setCurrent(card);
    });
    this.section.addEventListener("click", (event) => this.click(event));
    this.section.addEventListener("keydown", (event) => this.press(event));
    this.section.addEventListener("input", ({ target }) => {
      const { field, filter, plain } = target.dataset;
      if (field) this.book.set(this.places.get(this.cardOf(target)), { [field]: target.value });
      if (filter) this.setCurrent(null);
      if (filter) this.filter();
      if (plain !== undefined) this.setPlain(!target.checked);
    });
    this.dialog.addEventListener("close", () => this.focus(this.opened)); // the browser has focused what was before
  }

  cardOf(node) {
    return node.closest("dialog") ? this.current : node.closest(".card");
  }

  click({ target }) {
    const card = this.cardOf(target);
    const { verdict, step, close } = target.closest("button")?.dataset ?? {};
    if (!card) return;
    if (verdict) this.toggle(card, verdict);
    else if (step) this.go(Number(step), 0);
    else if (close !== undefined) this.dialog.close();
    else if (target.closest(".open")) this.open(card);
    else if (target.closest(".closely")) card.classList.toggle("large");
    else if (!target.closest("dialog, a, summary, input, textarea")) this.focus(card);
  }

  toggle(card, verdict) {
    const place = this.places.get(card);
    this.book.set(place, { verdict: this.book.of(place).verdict === verdict ? "" : verdict });
  }

  focus(card) {
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  // One card, with what is in it, is a tab stop.
  setReachable(card, reachable) {
    for (const node of [card, ...card.querySelectorAll("button, summary")]) node.tabIndex = reachable ? 0 : -1;
  }

  setCurrent(card) {
    if (card === this.current) return;
    this.current?.classList.remove("current");
    if (card) {
      for (const each of this.cards) if (each.tabIndex === 0) this.setReachable(each, false);
      this.setReachable(card, true);
      card.classList.add("current");
    }
    this.current = card;
    this.filter();
  }

  open(card) {
    this.setCurrent(card);
    this.opened = card;
    this.large.show(card);
    this.describe();
    this.fetchLarge(card, this.places.get(card));
  }

  // What is said above the large pictures.
  describe() {
    const record = this.book.of(this.places.get(this.current));
    const shown = this.shown();
    const rank = `${shown.indexOf(this.current) + 1} of ${shown.length} shown`;
    this.dialog.querySelector("[data-name]").textContent = this.current.dataset.name;
    const about = [rank, this.current.dataset.about, record.verdict];
    this.dialog.querySelector("[data-about]").textContent = about.filter(Boolean).join(", ");
    this.showRecord(this.dialog, record);
  }

  showRecord(node, record) {
    for (const button of node.querySelectorAll("button[data-verdict]")) {
      button.setAttribute("aria-pressed", button.dataset.verdict === record.verdict);
    }
    for (const field of node.querySelectorAll("[data-field]")) {
      const value = record[field.dataset.field];
      if (field.value !== value) field.value = value;
    }
    const note = node.querySelector(".controls details");
    if (!note) return;
    const told = [record.class, record.note].filter(Boolean).join(": ");
    note.querySelector("summary").textContent = told ? `note: ${told}` : "note";
    note.classList.toggle("filled", told !== "");
  }

  render() {
    const found = this.cards.map((card, place) => {
      const record = this.book.of(place);
      const { rank, name, about } = card.dataset;
      card.toggleAttribute("data-verdict", record.verdict !== "");
      if (record.verdict) card.dataset.verdict = record.verdict;
      card.setAttribute("aria-label", [`rank ${rank}`, name, about, record.verdict].filter(Boolean).join(", "));
      this.showRecord(card, record);
      return record.verdict;
    });
    const count = (verdict) => found.filter((each) => each === verdict).length;
    for (const option of this.section.querySelectorAll("[data-filter=verdict] option:not([value=any])")) {
      option.text = `${option.value || "none yet"} (${count(option.value)})`;
    }
    const counts = this.verdicts.map((verdict) => `${count(verdict)} ${verdict}`).join(", ");
    const unsaved = this.book.unsaved ? ", not saved yet" : "";
    this.part("counts").textContent = `${counts} of ${this.nImages}${unsaved}`;
    this.filter();
    if (this.dialog.open) this.describe();
  }

  // The current image stays, though its new verdict may not fit: it goes when the next one becomes current.
  filter() {
    const [outlier, verdict] = ["outlier", "verdict"].map((name) => this.section.querySelector(`[data-filter=${name}]`).value);
    this.cards.forEach((card, place) => {
      const fits = outlier === "all" || (outlier === "out") === card.hasAttribute("data-outlier");
      card.hidden = card !== this.current && !(fits && (verdict === "any" || this.book.of(place).verdict === verdict));
    });
    const n = this.shown().length;
    const [hidden, missing] = [this.cards.length - n, this.nImages - this.cards.length];
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
    const row = rest.find((card) => (card.getBoundingClientRect().top - box.top) * down > 1);
    if (!row) return undefined;
    const top = row.getBoundingClientRect().top;
    const besides = rest.filter((card) => Math.abs(card.getBoundingClientRect().top - top) < 1);
    const aside = (card) => Math.abs(card.getBoundingClientRect().left - box.left);
    return besides.reduce((best, card) => (aside(card) < aside(best) ? card : best));
  }

  go(across, down) {
    const next = this.dialog.open ? this.neighbor(across + down, 0) : this.neighbor(across, down);
    if (next && this.dialog.open) this.open(next);
    else if (next) this.focus(next);
    return true;
  }

  // Whether boxes, or colors over the photos, are hidden.
  setPlain(plain) {
    this.section.classList.toggle("plain", plain);
    for (const box of this.section.querySelectorAll("[data-plain]")) box.checked = !plain;
  }

  press(event) {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!this.act(event.key.length === 1 ? event.key.toLowerCase() : event.key, event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  // What a key does, true where it did something; arrows scroll the page until an image was chosen.
  act(key, event) {
    const { open } = this.dialog;
    const step = STEPS[key];
    if (LETTERS[key]) return this.go(...LETTERS[key]);
    if (open && event.shiftKey && step) return this.large.moveBy(80 * step[0], 80 * step[1]), true;
    if (step && (open || event.target.closest(".card"))) return this.go(...step);
    if (key === "o") return this.setPlain(!this.section.classList.contains("plain")), true;
    if (open && key in ZOOM_KEYS) return this.large.zoomBy(ZOOM_KEYS[key]), true;
    if (!this.current || event.repeat) return false;
    const verdict = this.verdicts.find((each) => each[0] === key);
    if (verdict) return this.toggle(this.current, verdict), true;
    if (key === "x") return this.book.set(this.places.get(this.current), { verdict: "" }), true;
    if (key === "Enter" && event.target === this.current) return this.open(this.current), true;
    return false;
  }
}

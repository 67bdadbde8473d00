// Shows the ranked photos of gallery.py, enlarges one beside its map, and tells which were marked.
// panes.js comes before it in one module.

const VERDICTS = { good: "G", bad: "B", unsure: "U" };
const KEYS = { g: "good", b: "bad", u: "unsure", x: "" };
const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const address = (view, type) => URL.createObjectURL(new Blob([bytes(view)], { type }));

function button(text, title, call, className = "") {
  const node = make("button", className, text);
  [node.type, node.title] = ["button", title];
  node.addEventListener("click", call);
  return node;
}

function menu(label, options, changed) {
  const [box, select] = [make("label", "", label), make("select")];
  for (const [value, text] of Object.entries(options)) select.append(new Option(text, value));
  select.setAttribute("aria-label", label.trim());
  select.addEventListener("change", changed);
  box.append(select);
  return [box, select];
}

function render({ model, el }) {
  const root = make("div", "musc-gallery");
  const filters = make("div", "musc-bar");
  const list = make("div", "musc-cards");
  list.setAttribute("role", "list");
  const paint = () => refresh();
  const [outlierBox, outlier] = menu("show ", { all: "", out: "", in: "" }, paint);
  const [verdictBox, verdict] = menu("verdict ", { any: "any", "": "none yet", good: "", bad: "", unsure: "" }, paint);
  const [whereBox, where] = [make("label"), make("input")];
  Object.assign(where, { type: "checkbox", checked: true });
  where.addEventListener("change", () => list.classList.toggle("musc-plain", !where.checked));
  whereBox.append(where, "show where");
  const none = make("p", "", "No photo is like that: show others.");
  filters.append(outlierBox, verdictBox, whereBox);
  const help = "Arrows move, G good, B bad, U unsure, X takes back, Enter or a click enlarges, Escape closes.";
  root.append(filters, make("p", "musc-help", help), list, none);
  el.append(root);

  let [cards, sources, current, opened] = [[], [], 0, null];
  const shown = (index) => !cards[index].box.hidden;
  const mark = (index, value) => model.send({ card: index, verdict: value });

  function marks(index) {
    return Object.entries(VERDICTS).map(([name, key]) =>
      button(name, `${name} (${key}); again: take back`, () => mark(index(), verdictOf(index()) === name ? "" : name), name),
    );
  }
  const verdictOf = (index) => model.get("verdicts")[index] ?? "";

  function build() {
    for (const source of sources.flat()) URL.revokeObjectURL(source);
    const [thumbnails, heats] = [model.get("thumbnails"), model.get("heats")];
    sources = thumbnails.map((view, k) => [address(view, "image/jpeg"), address(heats[k], "image/png")]);
    if (dialog.open) dialog.close();
    cards = model.get("cards").map((about, index) => {
      const [box, words] = [make("div", "musc-card"), make("div", "musc-words")];
      box.setAttribute("role", "listitem");
      const picture = button("", "enlarge", () => open(index), "musc-picture");
      const [width, height] = about.size;
      picture.style.aspectRatio = `${width} / ${height}`;
      picture.style.setProperty("--shape", width / height);
      for (const source of sources[index]) picture.append(Object.assign(new Image(), { src: source, alt: "" }));
      picture.addEventListener("focus", () => (current = index));
      const name = make("span", "musc-name");
      name.append(make("bdi", "", about.name));
      name.title = about.name;
      words.append(make("b", "", `${index + 1}`), ` score ${about.score} `);
      if (about.outlier) words.append(make("em", "", "stands out"));
      const buttons = make("div", "musc-marks");
      buttons.append(...marks(() => index));
      for (const node of buttons.children) node.tabIndex = -1; // keys do the same
      box.append(picture, words, name, buttons);
      return { box, picture, buttons, about };
    });
    current = 0;
    list.replaceChildren(...cards.map(({ box }) => box));
    refresh();
  }

  function refresh() {
    const verdicts = model.get("verdicts");
    const had = list.contains(document.activeElement) || document.activeElement === document.body;
    cards.forEach(({ box, picture, buttons, about }, index) => {
      const found = verdicts[index] ?? "";
      box.dataset.verdict = found;
      box.hidden =
        (outlier.value === "out" && !about.outlier) ||
        (outlier.value === "in" && about.outlier) ||
        (verdict.value !== "any" && found !== verdict.value);
      for (const node of buttons.children) node.setAttribute("aria-pressed", node.textContent === found);
      const words = [`rank ${index + 1}`, about.name, `score ${about.score}`, about.outlier && "stands out", found];
      picture.setAttribute("aria-label", words.filter(Boolean).join(", "));
    });
    if (cards.length && !shown(current)) {
      const next = neighbor(current, 1) ?? neighbor(current, -1);
      if (next != null) {
        const follow = had && !dialog.open;
        current = next;
        if (follow) cards[current].picture.focus();
      }
    }
    cards.forEach(({ picture }, index) => (picture.tabIndex = index === current ? 0 : -1));
    const [n, out] = [cards.length, cards.filter(({ about }) => about.outlier).length];
    const texts = [`all ${n} photos`, `the ${out} that stand out`, `the ${n - out} others`];
    texts.forEach((text, k) => (outlier.options[k].text = text));
    for (const option of [...verdict.options].slice(1)) {
      const count = cards.filter((_, index) => (verdicts[index] ?? "") === option.value).length;
      option.text = `${option.value || "none yet"} (${count})`;
    }
    root.hidden = !n;
    none.hidden = cards.some(({ box }) => !box.hidden);
    if (opened != null) describe();
  }

  function neighbor(index, step) {
    for (let k = index + step; k >= 0 && k < cards.length; k += step) if (shown(k)) return k;
    return null;
  }

  // The card above or below: of the next row, the one whose middle is nearest.
  function vertical(index, step) {
    const middle = (k) => cards[k].box.offsetLeft + cards[k].box.offsetWidth / 2;
    let [row, best] = [null, null];
    for (let k = neighbor(index, step); k != null; k = neighbor(k, step)) {
      const top = cards[k].box.offsetTop;
      if (top === cards[index].box.offsetTop) continue;
      row ??= top;
      if (top !== row) break;
      if (best == null || Math.abs(middle(k) - middle(index)) < Math.abs(middle(best) - middle(index))) best = k;
    }
    return best;
  }

  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: [neighbor, -1], ArrowRight: [neighbor, 1], ArrowUp: [vertical, -1], ArrowDown: [vertical, 1] };
    const [key, step] = [event.key.toLowerCase(), steps[event.key]];
    if (step) {
      const next = step[0](current, step[1]);
      if (next != null) cards[next].picture.focus();
      refresh();
    } else if (key in KEYS) mark(current, KEYS[key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const dialog = make("dialog", "musc-large");
  const [title, both] = [make("div", "musc-title"), panes()];
  const tools = make("div", "musc-bar");
  const largeMarks = make("div", "musc-marks");
  largeMarks.append(...marks(() => opened));
  const go = (step) => {
    const next = neighbor(opened, step);
    if (next != null) open(next);
  };
  tools.append(
    button("‹ previous", "previous photo (left arrow)", () => go(-1)),
    button("next ›", "next photo (right arrow)", () => go(1)),
    largeMarks,
    button("+", "zoom in (+, or the wheel)", () => both.zoomBy(1.5)),
    button("−", "zoom out (-)", () => both.zoomBy(1 / 1.5)),
    button("whole", "the whole photo (0)", both.whole),
    button("close", "close (Escape)", () => dialog.close(), "musc-close"),
  );
  dialog.append(title, tools, both.box);
  root.append(dialog);

  function describe() {
    const { about } = cards[opened];
    const found = verdictOf(opened);
    const parts = [`${opened + 1} of ${cards.length}`, `score ${about.score}`, about.outlier && "stands out", found];
    title.replaceChildren(make("b", "", about.name), ` ${parts.filter(Boolean).join(", ")}`);
    for (const node of largeMarks.children) node.setAttribute("aria-pressed", node.textContent === found);
  }

  function open(index) {
    current = opened = index;
    describe();
    if (!dialog.open) dialog.showModal();
    both.show(...sources[index], cards[index].about.size); // until the large one is here
    both.whole();
    model.send({ card: index, open: true });
  }

  let large = [];
  model.on("msg:custom", ({ card }, buffers) => {
    if (card !== opened) return;
    for (const source of large) URL.revokeObjectURL(source);
    large = [address(buffers[0], "image/jpeg"), address(buffers[1], "image/png")];
    both.show(...large, cards[card].about.size);
    dialog.dataset.large = card;
  });
  dialog.addEventListener("close", () => {
    [current, opened] = [opened, null]; // the browser has given the focus to where it was before
    delete dialog.dataset.large;
    refresh();
    if (cards[current]) cards[current].picture.focus();
  });
  dialog.addEventListener("keydown", (event) => {
    const calls = {
      ArrowLeft: () => go(-1),
      ArrowRight: () => go(1),
      "+": () => both.zoomBy(1.5),
      "=": () => both.zoomBy(1.5),
      "-": () => both.zoomBy(1 / 1.5),
      0: both.whole,
    };
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    if (key in KEYS) mark(opened, KEYS[key]);
    else if (event.key in calls) calls[event.key]();
    else return;
    event.preventDefault();
  });

  model.on("change:cards", build);
  model.on("change:verdicts", refresh);
  build();
}

export default { render };

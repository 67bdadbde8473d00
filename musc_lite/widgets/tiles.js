// Draws the pictures of tiles.py, and tells which patch is picked, pointed at, or begins a rectangle.
// zoom.js comes before it in one module.

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const size_of = (data) => data?.byteLength ?? 0;
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Enter: [0, 0], " ": [0, 0] };
const TURNS = { PageUp: -1, PageDown: 1 };
const PATIENCE = 3000; // milliseconds: so long an answer of the kernel is waited for

function shape({ width, height }, size) {
  return [width, height].map((side) => Math.max(1, Math.round((size * side) / Math.max(width, height))));
}

function strokes(context, color, path) {
  for (const [style, line] of [["black", 5], ["white", 4], [color, 2]]) {
    [context.strokeStyle, context.lineWidth] = [style, line];
    path();
    context.stroke();
  }
}

function draw(canvas, tile, bitmap, over, grid, [wide, high], zoom, cursor) {
  const [rows, columns] = grid;
  const scale = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(wide * scale), Math.round(high * scale)];
  [canvas.style.width, canvas.style.height] = [`${wide}px`, `${high}px`];
  const [across, down] = [wide * zoom.times(), high * zoom.times()];
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.translate(-zoom.corner()[0] * across, -zoom.corner()[1] * down);
  context.drawImage(bitmap, 0, 0, across, down);
  context.imageSmoothingEnabled = false;
  if (size_of(tile.layer)) {
    const layer = new OffscreenCanvas(columns, rows);
    const colors = new ImageData(new Uint8ClampedArray(bytes(tile.layer)), columns, rows);
    layer.getContext("2d").putImageData(colors, 0, 0);
    context.drawImage(layer, 0, 0, across, down);
  }
  if (over) context.drawImage(over, 0, 0, across, down);
  const [height, width] = [down / rows, across / columns];
  const box = (top, left, bottom = top, right = left) => () => {
    context.beginPath();
    context.rect(left * width, top * height, (right - left + 1) * width, (bottom - top + 1) * height);
  };
  for (const [patch, color, form] of tile.marks ?? []) {
    const [row, column] = [Math.floor(patch / columns), patch % columns];
    const [x, y, radius] = [(column + 0.5) * width, (row + 0.5) * height, 0.62 * Math.max(width, height)];
    const circle = () => {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
    };
    strokes(context, color, form === "round" ? circle : box(row, column));
  }
  if (tile.region) strokes(context, "#d55e00", box(tile.region[0], tile.region[2], tile.region[1], tile.region[3]));
  if (cursor !== undefined) {
    context.setLineDash([3, 3]);
    strokes(context, "black", box(Math.floor(cursor / columns), cursor % columns));
  }
}

function make(name, className, parent) {
  const node = document.createElement(name);
  node.className = className;
  parent.append(node);
  return node;
}

function render({ model, el }) {
  const group = make("div", "musc-tiles", el);
  group.setAttribute("role", "group");
  const readout = make("div", "musc-readout", document.createElement("div"));
  const figures = []; // one object for each tile
  const zooms = new Map(); // by the image that is seen: all pictures of one are enlarged together
  let [bitmaps, drawn, active, pressed, dragged, pointed, asked] = [[], 0, 0, null, false, null, false];
  const get = (name, otherwise) => model.get(name) ?? otherwise;
  const tileOf = (index) => get("tiles", [])[index] ?? {};

  function send(message) {
    model.send(message);
  }

  function pick(index, patch) {
    if (get("clickable")) send({ tile: index, patch });
  }

  function patchAt({ canvas, zoom }, event) {
    const [rows, columns] = get("grid");
    const box = canvas.getBoundingClientRect();
    const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const [across, down] = zoom.toPicture(place);
    const at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    return at(down, rows) * columns + at(across, columns);
  }

  function middleOf(patch) {
    const [rows, columns] = get("grid");
    return [((patch % columns) + 0.5) / columns, (Math.floor(patch / columns) + 0.5) / rows];
  }

  // Draws all pictures of an image again that was enlarged or moved, and has a sharper one sent, once.
  function look({ of, zoom }) {
    figures.forEach((each, k) => each.of === of && drawOne(k));
    if (zoom.times() === 1 || zoom.sharp) return;
    zoom.sharp = true;
    send({ enlarged: of });
  }

  // By keys and buttons: around the cursor, the patch that is marked, or the middle.
  function enlarge(figure, index, factor) {
    const patch = figure.cursor ?? tileOf(index).marks?.[0]?.[0];
    const place = patch === undefined ? [0.5, 0.5] : figure.zoom.toFrame(middleOf(patch));
    figure.zoom.zoomBy(factor, place.map((share) => Math.min(1, Math.max(0, share))));
    look(figure);
  }

  function corners(first, last) {
    const columns = get("grid")[1];
    const [rows, across] = [[first, last].map((p) => Math.floor(p / columns)), [first, last].map((p) => p % columns)];
    return [Math.min(...rows), Math.max(...rows), Math.min(...across), Math.max(...across)];
  }

  function read(figure, index, patch) {
    const { values, unit } = tileOf(index);
    const columns = get("grid")[1];
    const known = size_of(values) ? new DataView(values.buffer, values.byteOffset).getFloat32(4 * patch, true) : null;
    const value = known === null ? "" : `: ${Number.isInteger(known) ? known.toLocaleString() : known.toFixed(2)} ${unit ?? ""}`;
    readout.textContent = get("clickable") || known !== null ? `patch ${patch}${value}` : "";
    figure.picture.append(readout);
    const { clientWidth: across, clientHeight: down } = figure.canvas;
    const [width, height] = [across / columns, down / get("grid")[0]].map((side) => side * figure.zoom.times());
    const [x, y] = figure.zoom.toFrame(middleOf(patch)).map((share, k) => share * [across, down][k]);
    readout.style.left = `${Math.max(0, Math.min(x + width, across - readout.offsetWidth))}px`;
    const [above, below] = [y - height / 2 - 24, Math.min(y + height, down - 24)];
    readout.style.top = `${above >= 0 ? above : below}px`;
    return readout.textContent;
  }

  // The kernel hears of the patch under the mouse when it has answered for the last one.
  function point(index, patch) {
    if (!get("pointable") || !(tileOf(index).points || patch === null)) return;
    pointed = [index, patch];
    if (!asked) tell();
  }

  function tell() {
    if (!pointed) return;
    send({ tile: pointed[0], point: pointed[1] });
    pointed = null;
    asked = setTimeout(answered, PATIENCE);
  }

  function answered() {
    clearTimeout(asked);
    asked = null;
    tell();
  }

  function turn(index) {
    const next = Math.min(figures.length - 1, Math.max(0, index));
    figures[next]?.canvas.focus();
  }

  function below(index, step) {
    const place = (k) => figures[k].canvas.getBoundingClientRect();
    const [here, order] = [place(index), figures.map((_, k) => k).filter((k) => (k - index) * step > 0)];
    const other = order.filter((k) => Math.abs(place(k).top - here.top) > 4);
    return other.sort((a, b) => Math.abs(a - index) - Math.abs(b - index) || 0).reduce((best, k) => {
      if (best === null) return k;
      const near = (j) => Math.abs(place(j).left - here.left) + 3 * Math.abs(place(j).top - here.top);
      return near(k) < near(best) ? k : best;
    }, null);
  }

  function press(figure, index, event) {
    if (figure.of !== undefined && event.key in ZOOM_KEYS && !(event.ctrlKey || event.metaKey || event.altKey)) {
      event.preventDefault();
      event.stopPropagation();
      return enlarge(figure, index, ZOOM_KEYS[event.key]);
    }
    const step = STEPS[event.key];
    const byTiles = get("arrows") === "tiles";
    if (!(step || event.key in TURNS || (byTiles && ["Home", "End"].includes(event.key)))) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key in TURNS) return turn(index + TURNS[event.key]);
    if (byTiles && !step) return turn(event.key === "Home" ? 0 : figures.length - 1);
    if (byTiles && step[1]) return turn(index + step[1]);
    if (byTiles && step[0]) return turn(below(index, step[0]) ?? index);
    const [rows, columns] = get("grid");
    const tile = tileOf(index);
    const onItsWay = performance.now() - figure.sent?.at < PATIENCE ? figure.sent.patch : undefined; // keys come fast
    const from = figure.cursor ?? onItsWay ?? tile.marks?.[0]?.[0] ?? Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    const row = Math.min(rows - 1, Math.max(0, Math.floor(from / columns) + step[0]));
    const column = Math.min(columns - 1, Math.max(0, (from % columns) + step[1]));
    const patch = row * columns + column;
    if (!tile.walk || event.key === "Enter" || event.key === " ") {
      figure.sent = { patch, at: performance.now() };
      return pick(index, patch);
    }
    figure.cursor = patch;
    figure.zoom.reveal(middleOf(patch));
    look(figure);
    figure.canvas.setAttribute("aria-label", read(figure, index, patch));
  }

  function figure(index) {
    const box = make("figure", "", group);
    const picture = make("div", "musc-picture", box);
    const [canvas, number] = [make("canvas", "", picture), make("span", "musc-number", picture)];
    const caption = make("figcaption", "", box);
    const [title, name, scale] = [make("span", "", caption), make("span", "musc-name", caption), make("div", "musc-scale", box)];
    const parts = { box, picture, canvas, number, caption, title, name: make("bdi", "", name), scale, zoom: makeZoom() };
    const tools = make("div", "musc-zoom", picture);
    tools.append(...zoomButtons((factor) => enlarge(parts, index, factor)));
    for (const button of tools.children) button.tabIndex = -1; // keys do the same
    const at = (event) => patchAt(parts, event);
    const draws = () => get("draggable") && tileOf(index).points;
    listenToZoom(canvas, {
      zoomOf: () => (parts.of === undefined ? undefined : parts.zoom),
      frameOf: () => canvas.getBoundingClientRect(),
      changed: () => look(parts),
      taken: draws,
    });
    canvas.addEventListener("pointerdown", (event) => {
      [pressed, dragged] = [draws() ? at(event) : null, false];
      if (pressed !== null) canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (pressed !== null) {
        dragged ||= at(event) !== pressed;
        if (dragged) drawOne(index, { region: corners(pressed, at(event)) });
      } else if (event.pointerType === "mouse" && !event.buttons) {
        read(parts, index, at(event));
        point(index, at(event));
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      if (pressed !== null && dragged) send({ tile: index, region: corners(pressed, at(event)) });
      pressed = null;
    });
    canvas.addEventListener("pointercancel", () => {
      pressed = null;
      drawOne(index);
    });
    canvas.addEventListener("pointerleave", () => {
      readout.textContent = "";
      point(index, null);
    });
    canvas.addEventListener("click", (event) => {
      if (dragged) return (dragged = false);
      canvas.focus({ preventScroll: true });
      delete parts.sent;
      pick(index, at(event));
    });
    canvas.addEventListener("keydown", (event) => press(parts, index, event));
    canvas.addEventListener("focus", () => {
      active = index;
      figures.forEach((other, k) => (other.canvas.tabIndex = get("clickable") && k === active ? 0 : -1));
    });
    canvas.addEventListener("blur", () => (readout.textContent = ""));
    return parts;
  }

  // How much larger or smaller pictures may be: a row of them fills the page, and up to three stay side by side.
  function growth(widths) {
    const [most, gap, widest] = [get("grow", 1), 14, Math.max(...widths)];
    const room = el.clientWidth - 15;
    if (room <= 0) return 1; // not on the page yet
    const factor = (inRow) => (room - gap * (inRow - 1)) / inRow / widest;
    if (widths.length <= 3 && factor(widths.length) > 0.6) return Math.min(most, factor(widths.length));
    const inRow = Math.min(widths.length, Math.max(1, Math.floor((room + gap) / (widest + gap))));
    return Math.min(most, factor(inRow));
  }

  function drawOne(index, change) {
    const { canvas, bitmap, over, wanted, zoom, cursor, picture } = figures[index];
    picture.classList.toggle("musc-enlarged", zoom.times() > 1);
    canvas.style.touchAction = zoom.times() > 1 || (get("draggable") && tileOf(index).points) ? "none" : "manipulation";
    if (bitmap) draw(canvas, { ...tileOf(index), ...change }, bitmap, over, get("grid"), wanted, zoom, cursor);
  }

  function scaleOf({ scale }, bar) {
    scale.replaceChildren();
    if (!bar) return;
    make("span", "", scale).textContent = bar.low;
    make("i", "", scale).style.background = `linear-gradient(to right, ${bar.colors.join()})`;
    make("span", "", scale).textContent = bar.high;
    make("span", "", scale).textContent = bar.words;
  }

  async function drawAll() {
    const [turnOf, tiles, size, clickable] = [++drawn, get("tiles", []), get("size", 96), get("clickable")];
    const overs = tiles.map(({ over }) => size_of(over) && createImageBitmap(new Blob([bytes(over)])));
    const over = overs.some(Boolean) ? await Promise.all(overs) : overs;
    if (turnOf !== drawn) return; // another drawing began meanwhile
    group.setAttribute("aria-label", get("label", ""));
    while (figures.length > tiles.length) figures.pop().box.remove();
    while (figures.length < tiles.length) figures.push(figure(figures.length));
    active = Math.min(active, Math.max(0, figures.length - 1));
    const shapes = tiles.map((tile) => shape(bitmaps[tile.picture] ?? { width: 1, height: 1 }, size));
    const factor = tiles.length ? growth(shapes.map(([width]) => width)) : 1;
    tiles.forEach((tile, index) => {
      const parts = figures[index];
      const { canvas, caption, title, name, number } = parts;
      canvas.tabIndex = clickable && index === active ? 0 : -1;
      canvas.style.cursor = clickable ? "crosshair" : "";
      canvas.setAttribute("role", clickable ? "button" : "img");
      title.textContent = tile.title ?? "";
      name.textContent = tile.name ?? "";
      number.textContent = tile.number ?? "";
      caption.title = [tile.title, tile.name].filter(Boolean).join(" ");
      canvas.setAttribute("aria-label", [tile.number, caption.title].filter(Boolean).join(", "));
      canvas.style.outline = tile.frame ? `4px solid ${tile.frame}` : "";
      const wanted = shapes[index].map((side) => Math.floor(side * factor));
      caption.style.maxWidth = `${Math.max(wanted[0], size / 2)}px`; // words need room beside a narrow one
      scaleOf(parts, tile.bar);
      if (parts.shown !== tile.picture) delete parts.cursor;
      if (parts.sent?.patch === tile.marks?.[0]?.[0] || parts.of !== tile.of) delete parts.sent;
      if (tile.of !== undefined && !zooms.has(tile.of)) zooms.set(tile.of, makeZoom());
      const zoom = zooms.get(tile.of) ?? makeZoom();
      parts.picture.classList.toggle("musc-may-enlarge", tile.of !== undefined);
      Object.assign(parts, { bitmap: bitmaps[tile.picture], over: over[index] || null, wanted, shown: tile.picture });
      const mark = tile.marks?.[0]?.[0];
      if (mark !== undefined && mark !== parts.mark) zoom.reveal(middleOf(mark));
      Object.assign(parts, { of: tile.of, zoom, mark });
      drawOne(index);
    });
    for (const of of zooms.keys()) if (!tiles.some((tile) => tile.of === of)) zooms.delete(of);
    if (asked) answered();
  }

  async function load() {
    const pictures = get("pictures", []);
    bitmaps = await Promise.all(pictures.map((view) => createImageBitmap(new Blob([bytes(view)]))));
    drawAll();
  }

  let width = 0;
  const resized = new ResizeObserver(() => {
    if (el.clientWidth === width) return;
    width = el.clientWidth;
    requestAnimationFrame(drawAll);
  });
  resized.observe(el);
  const redraw = "change:tiles change:grid change:size change:grow change:label change:arrows change:clickable";
  const heard = (message) => "pointed" in (message ?? {}) && answered();
  model.on("change:pictures", load);
  model.on(redraw, drawAll);
  model.on("msg:custom", heard);
  load();
  return () => {
    resized.disconnect();
    clearTimeout(asked);
    model.off("change:pictures", load);
    model.off(redraw, drawAll);
    model.off("msg:custom", heard);
  };
}

export default { render };

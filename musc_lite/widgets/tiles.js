// Draws the pictures of tiles.py and tells which patch was picked.

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function shape([rows, columns], size) {
  return [columns, rows].map((count) => Math.max(1, Math.round((size * count) / Math.max(rows, columns))));
}

function draw(canvas, tile, bitmap, grid, size) {
  const [rows, columns] = grid;
  const [across, down] = shape(grid, size);
  const scale = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(across * scale), Math.round(down * scale)];
  [canvas.style.width, canvas.style.height] = [`${across}px`, `${down}px`];
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.drawImage(bitmap, 0, 0, across, down);
  if (tile.layer && tile.layer.byteLength) {
    const layer = new OffscreenCanvas(columns, rows);
    const colors = new ImageData(new Uint8ClampedArray(bytes(tile.layer)), columns, rows);
    layer.getContext("2d").putImageData(colors, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(layer, 0, 0, across, down);
  }
  const [height, width] = [down / rows, across / columns];
  for (const [patch, color] of tile.marks ?? []) {
    const [x, y] = [(patch % columns) * width, Math.floor(patch / columns) * height];
    for (const [style, line] of [["white", 4], [color, 2]]) {
      context.strokeStyle = style;
      context.lineWidth = line;
      context.strokeRect(x, y, width, height);
    }
  }
}

function render({ model, el }) {
  const group = document.createElement("div");
  group.className = "musc-tiles";
  group.setAttribute("role", "group");
  el.append(group);
  let bitmaps = [];

  function pick(index, patch) {
    if (model.get("clickable")) model.send({ tile: index, patch });
  }

  function figure(index) {
    const [box, canvas, caption] = ["figure", "canvas", "figcaption"].map((name) => document.createElement(name));
    canvas.setAttribute("role", "img");
    canvas.addEventListener("click", (event) => {
      const [rows, columns] = model.get("grid");
      const box = canvas.getBoundingClientRect();
      const at = (position, length, count) => Math.min(count - 1, Math.max(0, Math.floor((position / length) * count)));
      const row = at(event.clientY - box.top, box.height, rows);
      const column = at(event.clientX - box.left, box.width, columns);
      canvas.focus({ preventScroll: true });
      pick(index, row * columns + column);
    });
    canvas.addEventListener("keydown", (event) => {
      const [rows, columns] = model.get("grid");
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Enter: [0, 0] };
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const marked = model.get("tiles")[index].marks?.[0]?.[0];
      const patch = marked ?? Math.floor(rows / 2) * columns + Math.floor(columns / 2);
      const row = Math.min(rows - 1, Math.max(0, Math.floor(patch / columns) + step[0]));
      const column = Math.min(columns - 1, Math.max(0, (patch % columns) + step[1]));
      pick(index, row * columns + column);
    });
    const [title, name] = ["span", "span"].map((kind) => document.createElement(kind));
    name.className = "musc-name";
    name.append(document.createElement("bdi"));
    caption.append(title, name);
    box.append(canvas, caption);
    return box;
  }

  function drawAll() {
    const [tiles, grid, size] = ["tiles", "grid", "size"].map((name) => model.get(name));
    group.setAttribute("aria-label", model.get("label"));
    while (group.children.length > tiles.length) group.lastChild.remove();
    while (group.children.length < tiles.length) group.append(figure(group.children.length));
    tiles.forEach((tile, index) => {
      const [canvas, caption] = group.children[index].children;
      canvas.tabIndex = model.get("clickable") ? 0 : -1;
      canvas.style.cursor = model.get("clickable") ? "crosshair" : "";
      const [title, name] = caption.children;
      title.textContent = tile.title ?? "";
      name.firstChild.textContent = tile.name ?? "";
      caption.title = [tile.title, tile.name].filter(Boolean).join(" ");
      caption.style.maxWidth = `${Math.max(shape(grid, size)[0], size / 2)}px`; // words need room beside a narrow one
      canvas.setAttribute("aria-label", caption.title);
      canvas.style.outline = tile.frame ? `3px solid ${tile.frame}` : "";
      const bitmap = bitmaps[tile.picture];
      if (bitmap) draw(canvas, tile, bitmap, grid, size);
    });
  }

  async function load() {
    const pictures = model.get("pictures");
    bitmaps = await Promise.all(pictures.map((view) => createImageBitmap(new Blob([bytes(view)]))));
    drawAll();
  }

  model.on("change:pictures", load);
  model.on("change:tiles change:grid change:size change:label change:clickable", drawAll);
  load();
}

export default { render };

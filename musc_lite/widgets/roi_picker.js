// Shows the photo of roi_picker.py, and a rectangle on it that can be drawn, moved and resized.

const whole = [0, 0, 1, 1]; // left, top, right, bottom
const smallest = 0.01; // width and height: less is a click
const step = 0.01; // of the arrow keys
const reach = matchMedia("(pointer: coarse)").matches ? 14 : 7; // pixels beside an edge that belong to it
const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const isWhole = (region) => region.every((share, k) => share === whole[k]);

function moved([left, top, right, bottom], dx, dy) {
  const [x, y] = [clamp(dx, -left, 1 - right), clamp(dy, -top, 1 - bottom)];
  return [left + x, top + y, right + x, bottom + y];
}

function stretched(region, edges, dx, dy) {
  const to = region.map((share, k) => (edges.includes(k) ? clamp(share + [dx, dy][k % 2], 0, 1) : share));
  return [Math.min(to[0], to[2]), Math.min(to[1], to[3]), Math.max(to[0], to[2]), Math.max(to[1], to[3])];
}

function add(name, properties, parent) {
  const node = Object.assign(document.createElement(name), properties);
  parent.append(node);
  return node;
}

function render({ model, el }) {
  const group = add("div", { className: "musc-region", role: "group", ariaLabel: "part of the photos" }, el);
  const bar = add("div", { className: "musc-region-bar" }, group);
  const previous = add("button", { type: "button", textContent: "◀", ariaLabel: "previous photo" }, bar);
  const menu = add("select", { ariaLabel: "photo" }, bar);
  const next = add("button", { type: "button", textContent: "▶", ariaLabel: "next photo" }, bar);
  const clear = add("button", { type: "button", textContent: "whole photo" }, bar);
  const stage = add("div", { className: "musc-region-photo" }, group);
  const photo = add("img", { draggable: false }, stage);
  const box = add("div", { className: "musc-region-box", tabIndex: 0, role: "application" }, stage);
  box.ariaLabel = "region: arrow keys move it, Shift and arrow keys resize it";
  const words = add("div", { className: "musc-region-words", role: "status", ariaLive: "polite" }, group);
  let region = model.get("region");
  let drag = null;

  function place() {
    const [left, top, right, bottom] = region.map((share) => 100 * share);
    const [width, height] = [right - left, bottom - top];
    Object.assign(box.style, { left: `${left}%`, top: `${top}%`, width: `${width}%`, height: `${height}%` });
    box.classList.toggle("musc-region-whole", isWhole(region));
    clear.disabled = isWhole(region);
  }

  function choose(wanted) {
    const to = wanted.map((share) => clamp(Math.round(1000 * share) / 1000, 0, 1));
    if (Math.min(to[2] - to[0], to[3] - to[1]) < smallest - 1e-9) return;
    region = to;
    place();
    model.set("region", region);
    model.save_changes();
  }

  function at(event) {
    const frame = photo.getBoundingClientRect();
    return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
  }

  // Which edges of the rectangle a pointer takes, as indices of a region: none in its middle, null outside of it.
  function edgesAt({ clientX, clientY }) {
    const { left, top, right, bottom } = box.getBoundingClientRect();
    const within = (value, low, high) => value >= low - reach && value <= high + reach;
    if (isWhole(region) || !within(clientX, left, right) || !within(clientY, top, bottom)) return null;
    const apart = [clientX - left, clientY - top, clientX - right, clientY - bottom].map(Math.abs);
    return [0, 1, 2, 3].filter((k) => apart[k] <= reach && (k < 2 || apart[k] < apart[k - 2]));
  }

  function showCursor(event) {
    const edges = edgesAt(event);
    const name = [1, 3, 0, 2].map((edge) => (edges?.includes(edge) ? "wnes"[edge] : "")).join("");
    stage.style.cursor = name ? `${name}-resize` : edges ? "move" : "crosshair";
  }

  function turn(image) {
    model.set("image", image);
    model.save_changes();
    showNames();
  }

  function showNames() {
    const [names, image] = [model.get("names"), model.get("image")];
    if (menu.length !== names.length) menu.replaceChildren(...names.map((name, k) => new Option(`${k}: ${name}`, k)));
    menu.selectedIndex = image;
    photo.alt = names[image];
    previous.disabled = image === 0;
    next.disabled = image === names.length - 1;
  }

  function showPicture() {
    URL.revokeObjectURL(photo.src);
    const view = model.get("picture");
    stage.hidden = !view.byteLength;
    if (view.byteLength) photo.src = URL.createObjectURL(new Blob([bytes(view)], { type: "image/jpeg" }));
  }

  function showRegion() {
    if (drag) return;
    region = model.get("region");
    place();
  }

  function showWords() {
    words.textContent = model.get("sentence");
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    event.preventDefault();
    box.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    const [before, [x, y], edges] = [region, at(event), edgesAt(event)];
    let change = (dx, dy) => stretched([x, y, x, y], [2, 3], dx, dy);
    if (edges) change = (dx, dy) => (edges.length ? stretched(before, edges, dx, dy) : moved(before, dx, dy));
    drag = (here) => choose(change(here[0] - x, here[1] - y));
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag) showCursor(event);
    else if (event.isPrimary) drag(at(event));
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (drag = null));
  box.addEventListener("keydown", (event) => {
    const arrow = arrows[event.key];
    if (!arrow) return;
    event.preventDefault();
    event.stopPropagation();
    choose(event.shiftKey ? stretched(region, [2, 3], ...arrow) : moved(region, ...arrow));
  });
  previous.addEventListener("click", () => turn(model.get("image") - 1));
  next.addEventListener("click", () => turn(model.get("image") + 1));
  menu.addEventListener("change", () => turn(menu.selectedIndex));
  clear.addEventListener("click", () => choose(whole));

  const shows = { "change:names change:image": showNames, "change:picture": showPicture };
  Object.assign(shows, { "change:region": showRegion, "change:sentence": showWords });
  for (const [changes, show] of Object.entries(shows)) {
    model.on(changes, show);
    show();
  }
  return () => {
    for (const [changes, show] of Object.entries(shows)) model.off(changes, show);
    URL.revokeObjectURL(photo.src);
  };
}

export default { render };

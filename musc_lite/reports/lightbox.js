// One image large, photo and map side by side: both are zoomed and moved together.

const LARGEST_ZOOM = 16;

// Keep a moved picture over its pane: no further than half of what zooming added.
function bounded({ zoom, x, y }, frame) {
  const limit = (value, side) => {
    const most = (side * (zoom - 1)) / 2;
    return Math.max(-most, Math.min(most, value));
  };
  return { zoom, x: limit(x, frame.offsetWidth), y: limit(y, frame.offsetHeight) };
}

// Zoom so that the point (px, py), seen from the middle of its pane, stays where it is.
function zoomedAt({ zoom, x, y }, factor, px, py) {
  const next = Math.max(1, Math.min(LARGEST_ZOOM, zoom * factor));
  return { zoom: next, x: px - ((px - x) * next) / zoom, y: py - ((py - y) * next) / zoom };
}

function fromMiddle(pane, event) {
  const box = pane.getBoundingClientRect();
  return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
}

// Show a copy of what a card shows, or nothing.
function fill(pane, frame) {
  const copy = frame?.cloneNode(true);
  copy?.querySelector("img").setAttribute("draggable", "false");
  pane.replaceChildren(...(copy ? [copy] : []));
  pane.hidden = !frame;
}

// The picture in maps/ is of the whole photo; what is shown is the region.
function placeWhole(img, [left, top, right, bottom]) {
  const [width, height] = [right - left, bottom - top];
  Object.assign(img.style, {
    inset: "auto",
    left: `${(-100 * left) / width}%`,
    top: `${(-100 * top) / height}%`,
    width: `${100 / width}%`,
    height: `${100 / height}%`,
  });
}

// Take the larger picture of the map where the report lies beside it; else what is inside of the report stays.
function enlargeMap(pane, card, region) {
  const link = card.querySelector("a.map");
  const img = pane.querySelector("img");
  if (!link) return;
  const larger = new Image();
  larger.onload = () => {
    if (!img.isConnected) return;
    img.src = larger.src;
    placeWhole(img, region);
  };
  larger.src = link.href;
}

class Lightbox {
  constructor(dialog) {
    this.dialog = dialog;
    this.panes = Object.fromEntries(["photo", "map"].map((name) => [name, dialog.querySelector(`[data-pane=${name}]`)]));
    this.pointers = new Map();
    this.look({ zoom: 1, x: 0, y: 0 });
    for (const pane of Object.values(this.panes)) this.listen(pane);
  }

  show(card, region, told) {
    const [map, photo] = ["map", "photo"].map((name) => card.querySelector(`img.${name}`)?.parentElement);
    fill(this.panes.photo, photo);
    fill(this.panes.map, map);
    enlargeMap(this.panes.map, card, region);
    this.dialog.style.setProperty("--ratio", card.style.getPropertyValue("--ratio"));
    this.dialog.querySelector("[data-name]").textContent = told[0];
    this.dialog.querySelector("[data-about]").textContent = told[1];
    this.look({ zoom: 1, x: 0, y: 0 });
    if (this.dialog.open) return;
    this.dialog.showModal();
    this.dialog.focus(); // not its first button: another Enter would give a verdict
  }

  look(at) {
    const frame = this.panes.map.querySelector(".frame");
    this.at = frame ? bounded(at, frame) : at;
    for (const [name, value] of Object.entries(this.at)) this.dialog.style.setProperty(`--${name}`, value);
  }

  zoom(factor, px = 0, py = 0) {
    this.look(zoomedAt(this.at, factor, px, py));
  }

  move(dx, dy) {
    this.look({ ...this.at, x: this.at.x + dx, y: this.at.y + dy });
  }

  reset() {
    this.look({ zoom: 1, x: 0, y: 0 });
  }

  listen(pane) {
    const wheel = (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-Math.sign(event.deltaY) * 0.2), ...fromMiddle(pane, event));
    };
    pane.addEventListener("wheel", wheel, { passive: false });
    pane.addEventListener("dblclick", (event) => this.zoom(this.at.zoom > 1 ? 0 : 4, ...fromMiddle(pane, event)));
    pane.addEventListener("pointerdown", (event) => {
      pane.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, fromMiddle(pane, event));
    });
    pane.addEventListener("pointermove", (event) => this.drag(event.pointerId, fromMiddle(pane, event)));
    for (const end of ["pointerup", "pointercancel"]) {
      pane.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
  }

  // One finger or the mouse moves the pictures, two fingers zoom them about the point between, which they move too.
  drag(pointer, to) {
    const from = this.pointers.get(pointer);
    if (!from) return;
    this.pointers.set(pointer, to);
    const other = [...this.pointers].find(([id]) => id !== pointer)?.[1];
    if (!other) return this.move(to[0] - from[0], to[1] - from[1]);
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    this.zoom(apart(to) / apart(from), (from[0] + other[0]) / 2, (from[1] + other[1]) / 2);
    this.move((to[0] - from[0]) / 2, (to[1] - from[1]) / 2);
  }
}

// Comes before gallery.js in one module.

function make(name, className = "", text = "") {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

// Two panes of one photo that are moved and zoomed together; at is what lies in the middle, in shares of the photo.
function panes() {
  const box = make("div", "musc-panes");
  const views = ["photo", "where it is unlike the others"].map((title) => {
    const [pane, inner] = [make("figure"), make("div", "musc-inner")];
    pane.append(inner, make("figcaption", "", title));
    box.append(pane);
    return { pane, inner };
  });
  let [zoom, at, size] = [1, [0.5, 0.5], [1, 1]];

  function place() {
    for (const { pane, inner } of views) {
      const room = [pane.clientWidth, pane.clientHeight];
      const fit = Math.min(room[0] / size[0], room[1] / size[1]) * zoom;
      const shown = size.map((side) => side * fit);
      at = at.map((share, k) => {
        const half = Math.min(0.5, room[k] / shown[k] / 2);
        return Math.min(1 - half, Math.max(half, share));
      });
      [inner.style.width, inner.style.height] = shown.map((side) => `${side}px`);
      [inner.style.left, inner.style.top] = shown.map((side, k) => `${room[k] / 2 - at[k] * side}px`);
      inner.dataset.zoom = zoom.toFixed(2);
    }
  }

  function zoomBy(factor, pointer = [0, 0], shown = [1, 1]) {
    const next = Math.min(32, Math.max(1, zoom * factor));
    at = at.map((share, k) => share + (pointer[k] / shown[k]) * (1 - zoom / next)); // what is under the pointer stays
    zoom = next;
    place();
  }

  for (const { pane, inner } of views) {
    let last = null;
    pane.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const [room, shown] = [pane.getBoundingClientRect(), inner.getBoundingClientRect()];
        const pointer = [event.clientX - room.x - room.width / 2, event.clientY - room.y - room.height / 2];
        zoomBy(Math.exp(-event.deltaY / 400), pointer, [shown.width, shown.height]);
      },
      { passive: false },
    );
    pane.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      pane.setPointerCapture(event.pointerId);
    });
    pane.addEventListener("pointermove", (event) => {
      if (!last) return;
      const [shown, now] = [inner.getBoundingClientRect(), [event.clientX, event.clientY]];
      at = at.map((share, k) => share - (now[k] - last[k]) / [shown.width, shown.height][k]);
      last = now;
      place();
    });
    for (const name of ["pointerup", "pointercancel"]) pane.addEventListener(name, () => (last = null));
  }
  new ResizeObserver(place).observe(box);

  function show(photo, heat, shape) {
    size = shape;
    views.forEach(({ inner }, k) => {
      const pictures = (k ? [photo, heat] : [photo]).map((source) => Object.assign(new Image(), { src: source, alt: "" }));
      for (const picture of pictures) picture.draggable = false;
      inner.replaceChildren(...pictures);
    });
    place();
  }

  function whole() {
    [zoom, at] = [1, [0.5, 0.5]];
    place();
  }

  return { box, show, whole, zoomBy };
}

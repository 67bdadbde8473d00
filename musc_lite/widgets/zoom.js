// The zoom of tiles, report and app. Ctrl and the wheel, two fingers, the keys + - 0 and buttons enlarge a picture;
// dragging, and the wheel over an enlarged picture, move it. It comes before the script that uses it in one module.

const MOST = 32; // times
const ZOOM_KEYS = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 }; // times; 0: the whole picture
const ZOOM_BUTTONS = [["+", "larger (+)"], ["-", "smaller (-)"], ["0", "whole (0)"]];

// Which part of a picture is seen: how many times enlarged, and where the corner of what is seen lies. All places are
// shares of a side: of the picture, or of the frame that it is seen in.
function makeZoom() {
  let [times, corner] = [1, [0, 0]];
  const toPicture = (place) => place.map((share, k) => corner[k] + share / times);
  const toFrame = (place) => place.map((share, k) => (share - corner[k]) * times);

  // Returns whether anything changed, as the others do.
  function set(nextTimes, nextCorner) {
    const before = [times, ...corner];
    times = Math.min(MOST, Math.max(1, nextTimes));
    corner = nextCorner.map((share) => Math.min(1 - 1 / times, Math.max(0, share)));
    return [times, ...corner].some((value, k) => Math.abs(value - before[k]) > 1e-9);
  }

  // What lies at this place of the frame stays there.
  function zoomBy(factor, place = [0.5, 0.5]) {
    const [fixed, next] = [toPicture(place), Math.min(MOST, Math.max(1, times * factor))];
    return set(next, fixed.map((share, k) => share - place[k] / next));
  }

  const moveBy = (step) => set(times, corner.map((share, k) => share + step[k] / times));

  // Moves where a place of the picture is out of sight, and then a little more than that takes.
  function reveal(place) {
    const [margin, seen] = [0.1, toFrame(place)];
    if (seen.every((share) => share >= 0 && share <= 1)) return;
    moveBy(seen.map((share) => Math.min(0, share - margin) + Math.max(0, share - 1 + margin)));
  }

  return { zoomBy, moveBy, reveal, toPicture, toFrame, times: () => times, corner: () => corner };
}

// Wheel, mouse and fingers on a node. zoomOf() is its zoom, or undefined; frameOf() the box of the whole picture on the
// page; changed() draws; taken() tells that a press means something else. Where a picture has the page to itself (alone)
// nothing scrolls: the wheel enlarges without Ctrl, and so does a double click.
function listenToZoom(node, { zoomOf, frameOf, changed, taken = () => false, alone = false }) {
  const pointers = new Map(); // by their id: where they are on the page
  let moved = false;
  const placeOf = (event) => [event.clientX, event.clientY];
  const step = ([x, y], { width, height }) => [x / width, y / height];
  const shares = ([x, y], frame) => step([x - frame.left, y - frame.top], frame);
  const tell = (did) => did && changed();

  const wheel = (event) => {
    const [zoom, frame] = [zoomOf(), frameOf()];
    if (!zoom) return;
    const closer = event.ctrlKey || event.metaKey; // two fingers on a trackpad say so, too
    const slower = closer ? 100 : 400;
    const did = closer || alone
      ? zoom.zoomBy(Math.exp(-event.deltaY / slower), shares(placeOf(event), frame))
      : zoom.moveBy(step([event.deltaX, event.deltaY], frame));
    if (did || closer || alone) event.preventDefault(); // else the page moves on
    tell(did);
  };
  node.addEventListener("wheel", wheel, { passive: false });
  if (alone) {
    node.addEventListener("dblclick", (event) => {
      tell(zoomOf().zoomBy(zoomOf().times() > 1 ? 0 : 4, shares(placeOf(event), frameOf())));
    });
  }
  node.addEventListener("pointerdown", (event) => {
    moved = false;
    if (!zoomOf() || taken()) return;
    pointers.set(event.pointerId, placeOf(event));
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", (event) => {
    const [zoom, from, to, frame] = [zoomOf(), pointers.get(event.pointerId), placeOf(event), frameOf()];
    if (!zoom || !from) return;
    pointers.set(event.pointerId, to);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1]; // two fingers enlarge and move
    const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
    const middle = () => shares([(from[0] + other[0]) / 2, (from[1] + other[1]) / 2], frame);
    const enlarged = other && zoom.zoomBy(apart(to) / apart(from), middle());
    const back = from.map((pixel, k) => (pixel - to[k]) / (other ? 2 : 1));
    const did = zoom.moveBy(step(back, frame)) || enlarged;
    moved ||= did;
    tell(did);
  });
  for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, (event) => pointers.delete(event.pointerId));
  node.addEventListener("click", (event) => moved && event.stopImmediatePropagation(), true);
  for (const touch of ["touchstart", "touchmove"]) {
    const two = (event) => zoomOf() && event.touches.length > 1 && event.preventDefault(); // the page keeps its size
    node.addEventListener(touch, two, { passive: false });
  }
}

// Buttons that call what the keys call, with how many times.
function zoomButtons(call) {
  return ZOOM_BUTTONS.map(([key, words]) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: key.replace("-", "−"), title: words, ariaLabel: words });
    button.addEventListener("click", () => call(ZOOM_KEYS[key]));
    return button;
  });
}

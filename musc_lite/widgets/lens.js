// Comes before tiles.js in one module.

const MOST = 8; // times

// Which part of a picture is seen: how many times enlarged, and where the corner of what is seen lies. All places are
// shares of a side: of the picture, or of the frame that it is seen in.
function makeLens() {
  let [zoom, corner] = [1, [0, 0]];
  const inside = (share) => Math.min(1 - 1 / zoom, Math.max(0, share));
  const toPicture = (place) => place.map((share, k) => corner[k] + share / zoom);
  const toFrame = (place) => place.map((share, k) => (share - corner[k]) * zoom);

  // What lies at this place of the frame stays there.
  function zoomBy(factor, place) {
    const fixed = toPicture(place);
    zoom = Math.min(MOST, Math.max(1, zoom * factor));
    corner = fixed.map((share, k) => inside(share - place[k] / zoom));
  }

  // Gives whether anything moved.
  function moveBy(step) {
    const next = corner.map((share, k) => inside(share + step[k] / zoom));
    const moved = next.some((share, k) => Math.abs(share - corner[k]) > 1e-9);
    corner = next;
    return moved;
  }

  // Moves where a place of the picture is out of sight, and then a little more than that takes.
  function reveal(place) {
    const [margin, seen] = [0.1, toFrame(place)];
    if (seen.every((share) => share >= 0 && share <= 1)) return;
    moveBy(seen.map((share) => Math.min(0, share - margin) + Math.max(0, share - 1 + margin)));
  }

  function whole() {
    [zoom, corner] = [1, [0, 0]];
  }

  return { zoomBy, moveBy, reveal, whole, toPicture, toFrame, zoom: () => zoom, corner: () => corner };
}

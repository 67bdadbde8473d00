// Pick a patch: its nearest patches, how many similar ones each image holds, and its distances to all of them.

function render(page, el) {
  const { batch, data, state, colors } = page;
  const image = host.menu("image", page.imageNames, (i) => page.choose(i, state.patch));
  const threshold = host.slider("threshold of similar patches", { min: 0, max: 2, step: 0.01 }, (value) =>
    page.change({ similar: value }),
  );
  const [large, beside] = [host.element("div", { class: "row" }), host.element("div", {})];
  el.append(host.element("div", { class: "controls" }, image.el, threshold.el), large);
  const gallery = host.element("div", { class: "gallery" });
  el.append(gallery);

  const asked = host.showTiles(large, {
    pictures: page.pictures,
    grid: data.grid,
    label: "the patch that asks, and a second image, bright where it is near",
    onPick: (tile, patch) => page.choose(tile ? compared() : state.image, patch),
  });
  large.append(beside);
  const distances = host.showChart(beside, { xlabel: "other images, nearest first", ylabel: "distance" });
  const others = host.showTiles(gallery, {
    pictures: page.pictures,
    grid: data.grid,
    label: "other images, nearest first; framed: those of the interval",
    onPick: (tile) => page.change({ compared: answer.nearest[tile].image }),
  });

  let answer; // to the chosen patch
  let hovered = null; // a patch of the chosen image under the mouse: asked in passing

  const compared = () => state.compared ?? answer.nearest[0].image;

  function ask(m) {
    const toAll = core.distancesOf(batch, state.image, m);
    const nearest = core.nearestOf(batch, state.image, toAll);
    const bounds = core.intervalBounds(nearest.length, state.interval);
    const mean = core.intervalMean(nearest.map(({ distance }) => distance), bounds);
    const similar = nearest.map(({ image }) => core.countSimilar(batch, toAll, image, state.similar));
    return { m, toAll, nearest, bounds, mean, similar };
  }

  // The two large pictures and the chart: of the chosen patch, or of the one under the mouse.
  function drawLarge({ m, toAll, nearest, bounds: [first, last], mean }) {
    const [j, usual] = [compared(), Float32Array.from(toAll).sort()[toAll.length >> 1]];
    const near = toAll.subarray(j * batch.m, (j + 1) * batch.m);
    const best = near.indexOf(Math.min(...near));
    asked.model.set("tiles", [
      {
        picture: state.image,
        title: `image ${data.numbers[state.image]}, patch ${m}:`,
        name: data.names[state.image],
        marks: [[m, colors.defective]],
      },
      {
        picture: j,
        title: `image ${data.numbers[j]}, nearest at ${near[best].toFixed(2)}:`,
        name: data.names[j],
        layer: host.coloredLayer(near.map((d) => -d), page.viridis, -usual, -nearest[0].distance, 0.6),
        marks: [[best, colors.normal]],
      },
    ]);
    const [places, shaded] = [nearest.map((_, k) => k + 1), [first + 0.5, last + 0.5]];
    distances.model.set({
      data: [
        { name: "distance", x: places, y: nearest.map((each) => each.distance), color: colors.defective, kind: "line" },
        line("threshold", [1, places.length], state.similar, colors.unlabeled),
        line(`mean ${mean.toFixed(2)}`, shaded, mean, colors.threshold),
      ],
      shaded,
      label: sentence(answer),
    });
  }

  const line = (name, x, value, color) => ({ name, x, y: [value, value], color, kind: "dashed" });

  function sentence({ m, nearest, mean, similar }) {
    const [begin, end] = state.interval.map((share) => `${Math.round(100 * share)} %`);
    const between = state.interval[0] === 0 ? `closest ${end}` : `images from ${begin} to ${end}`;
    const rank = core.rankOf(page.patchScores, state.image * batch.m + m);
    return (
      `similar patches in ${similar.filter(Boolean).length} of ${nearest.length} other images at threshold ` +
      `${state.similar.toFixed(2)}, ${page.count(similar.reduce((sum, count) => sum + count, 0))} patches in all; ` +
      `mean of the ${between}: ${mean.toFixed(2)}; rank ${page.count(rank)} of ${page.count(batch.n * batch.m)}`
    );
  }

  function draw() {
    answer = ask(state.patch);
    image.set(state.image);
    threshold.set(state.similar);
    const [first, last] = answer.bounds;
    drawLarge(answer);
    others.model.set(
      "tiles",
      answer.nearest.map(({ image, patch, distance }, place) => ({
        picture: image,
        title: `${distance.toFixed(2)}: ${answer.similar[place]} similar`,
        marks: [[patch, colors.normal]],
        frame: place >= first && place < last ? colors.threshold : "",
      })),
    );
    page.say(sentence(answer));
  }

  // A mouse over the first picture asks without a click; what is chosen comes back when it leaves.
  function hover(event) {
    const canvas = asked.el.querySelector("canvas");
    const box = canvas.getBoundingClientRect();
    const [rows, columns] = data.grid;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const inside = row >= 0 && row < rows && column >= 0 && column < columns;
    const asks = inside && event.type === "pointermove" && event.pointerType === "mouse";
    const patch = asks ? row * columns + column : null;
    if (patch === hovered) return;
    hovered = patch;
    drawLarge(patch === null ? answer : ask(patch));
  }
  asked.el.addEventListener("pointermove", hover);
  asked.el.addEventListener("pointerleave", hover);

  function resize(width) {
    asked.model.set("size", page.large(width));
    others.model.set("size", page.small(width));
    distances.model.set("width", Math.min(380, width));
  }

  return { draw, resize };
}

export default { name: "Patch", render };

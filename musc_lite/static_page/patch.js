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
    onPoint: (_, patch) => drawLarge(patch === null ? answer : ask(patch)), // in passing: nothing is chosen
  });
  large.append(beside);
  const distances = host.showChart(beside, { xlabel: "other images, nearest first", ylabel: "distance" });
  const others = host.showTiles(gallery, {
    pictures: page.pictures,
    grid: data.grid,
    arrows: "tiles",
    label: "other images, nearest first; framed: those of the interval",
    onPick: (tile) => page.change({ compared: answer.nearest[tile].image }),
  });

  let answer; // to the chosen patch

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
    const [far, close] = [usual.toFixed(2), nearest[0].distance.toFixed(2)];
    const best = near.indexOf(Math.min(...near));
    asked.model.set("tiles", [
      {
        picture: state.image,
        of: state.image,
        title: `image ${data.numbers[state.image]}, patch ${m}:`,
        name: data.names[state.image],
        marks: [[m, colors.defective]],
        points: true,
      },
      {
        picture: j,
        of: j,
        title: `image ${data.numbers[j]}, nearest at ${near[best].toFixed(2)}:`,
        name: data.names[j],
        layer: host.coloredLayer(near.map((d) => -d), page.viridis, -usual, -nearest[0].distance, 0.6),
        values: host.valuesOf(near),
        unit: "away",
        bar: host.colorBar(page.viridis, far, close, "distance, from the usual one"),
        marks: [[best, colors.normal, "round"]],
        walk: true,
      },
    ]);
    const shaded = [first + 0.5, last + 0.5];
    distances.model.set({
      data: [
        ...dots(nearest),
        line("threshold", [1, nearest.length], state.similar, colors.unlabeled),
        line(`mean ${mean.toFixed(2)}`, shaded, mean, colors.threshold),
      ],
      shaded,
      label: sentence(answer),
    });
  }

  // One for each other image, by its label where that is known.
  function dots(nearest) {
    const kinds = data.labels ? ["normal", "defective"] : ["unlabeled"];
    return kinds.flatMap((kind, label) => {
      const places = [...nearest.keys()].filter((k) => !data.labels || data.labels[nearest[k].image] === label);
      const [x, y] = [places.map((k) => k + 1), places.map((k) => nearest[k].distance)];
      const labels = places.map((k) => `image ${data.numbers[nearest[k].image]}, place ${k + 1}`);
      const name = data.labels ? kind : "other image";
      return { name, x, y, labels, color: colors[kind], kind: "points", hollow: kind === "defective" };
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
        number: `${answer.similar[place]}`,
        marks: [[patch, colors.normal, "round"]],
        frame: place >= first && place < last ? colors.threshold : "",
      })),
    );
    page.say(sentence(answer));
  }

  function resize(width) {
    asked.model.set("size", page.large(width));
    others.model.set("size", page.small(width));
    distances.model.set("width", Math.min(380, width));
  }

  return { draw, resize };
}

export default { name: "Patch", render };

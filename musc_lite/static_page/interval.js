// Drag both ends of the interval: scores of patches, the images' order, and the AUROC where labels exist.

const AFTER = 1e-6; // of an image: a slider stands safely past the whole number of images that it shows

function render(page, el) {
  const { batch, data, state } = page;
  const most = Math.max(...page.everyImage.map((i) => core.countOthers(batch, i)));
  const bounds = () => core.intervalBounds(most, state.interval);
  const share = (count) => (count === 0 ? 0 : Math.min(1, (count + AFTER) / most));
  const first = host.slider("from image", { min: 1, max: most, step: 1, say: (k) => `${k} of ${most}` }, (k) =>
    page.change({ interval: [share(k - 1), share(Math.max(k, bounds()[1]))] }),
  );
  const last = host.slider("to image", { min: 1, max: most, step: 1, say: (k) => `${k} of ${most}` }, (k) =>
    page.change({ interval: [share(Math.min(k - 1, bounds()[0])), share(k)] }),
  );
  const [charts, gallery] = [host.element("div", { class: "row" }), host.element("div", { class: "gallery" })];
  el.append(host.element("div", { class: "controls" }, first.el, last.el), charts, gallery);
  const ylabel = "share of each kind (%)";
  const patches = host.showChart(charts, { xlabel: "patch score", ylabel });
  const images = host.showChart(charts, { xlabel: "image score, before re-scoring", ylabel });
  const ranked = host.showTiles(gallery, {
    pictures: page.pictures,
    grid: data.grid,
    label: "images by score, the most anomalous first, bright where a patch scores high",
    arrows: "tiles",
    onPick: (tile, patch) => page.choose(order[tile], patch),
  });
  let order = [];

  function draw() {
    const [begin, end] = bounds();
    first.set(begin + 1);
    last.set(end);
    const scores = core.patchScores(batch, page.nearest(), state.interval);
    const ofImages = core.imageScores(batch, scores);
    const sorted = Float64Array.from(scores).sort();
    const [usual, highest] = [sorted[sorted.length >> 1], sorted.at(-1)];
    order = core.ranking(ofImages);
    const edges = host.evenEdges(page.nearest().filter(Number.isFinite), 30); // of every interval: axes stay
    patches.model.set("data", host.histograms(scores, page.defective, edges, page.colors));
    images.model.set("data", host.histograms(ofImages, data.labels, edges, page.colors));
    const layer = (i) => {
      const own = scores.subarray(i * batch.m, (i + 1) * batch.m);
      return host.coloredLayer(own, page.heat, usual, highest, (strength) => 0.7 * strength);
    };
    ranked.model.set(
      "tiles",
      order.map((i, place) => ({
        picture: i,
        title: `${place + 1}: ${ofImages[i].toFixed(2)}`,
        name: data.names[i],
        layer: layer(i),
        values: host.valuesOf(scores.subarray(i * batch.m, (i + 1) * batch.m)),
        unit: "score",
        frame: data.labels?.[i] ? page.colors.defective : "",
      })),
    );
    const measured = data.labels && core.auroc(ofImages, data.labels);
    const quality = measured === null ? "" : `; image AUROC ${measured.toFixed(2)}`;
    const label = `mean over the other images ${begin + 1} to ${end} of ${most}, nearest first${quality}`;
    for (const { model } of [patches, images]) model.set("label", label);
    page.say(label);
  }

  function resize(width) {
    for (const { model } of [patches, images]) model.set("width", Math.min(400, width));
    ranked.model.set("size", page.small(width));
  }

  return { draw, resize };
}

export default { name: "Interval", needsAll: true, render };

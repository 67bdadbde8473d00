// Move the threshold: how many other images hold a patch that is similar, for each patch of an image and for all.

function render(page, el) {
  const { batch, data, state } = page;
  const image = host.menu("image", page.imageNames, (i) => page.choose(i, state.patch));
  const threshold = host.slider("threshold of similar patches", { min: 0, max: 2, step: 0.01 }, (value) =>
    page.change({ similar: value }),
  );
  const beside = host.element("div", { class: "row" });
  el.append(host.element("div", { class: "controls" }, image.el, threshold.el), beside);
  const pictures = host.showTiles(beside, {
    pictures: page.pictures,
    grid: data.grid,
    label: "the picture, and the count of each patch over it",
    onPick: (_, patch) => page.choose(state.image, patch),
  });
  const chart = host.showChart(beside, {
    xlabel: "other images that hold a similar patch",
    ylabel: "share of each kind (%)",
  });
  const most = Math.max(...page.everyImage.map((i) => core.countOthers(batch, i)));
  const edges = Array.from({ length: most + 2 }, (_, k) => k - 0.5);

  function draw() {
    image.set(state.image);
    threshold.set(state.similar);
    const counts = core.similarImages(batch, page.nearest(), state.similar);
    const own = counts.slice(state.image * batch.m, (state.image + 1) * batch.m);
    const marks = [[state.patch, page.colors.defective]];
    const seen = { picture: state.image, of: state.image, marks };
    pictures.model.set("tiles", [
      { ...seen, title: page.imageNames[state.image] },
      {
        ...seen,
        title: "other images that hold a similar patch",
        layer: host.coloredLayer(own, page.viridis, 0, most, 0.75),
        values: host.valuesOf(own),
        unit: "images",
        bar: host.colorBar(page.viridis, "0", `${most}`, "other images"),
      },
    ]);
    const label = `at threshold ${state.similar.toFixed(2)}`;
    chart.model.set({ data: host.histograms(counts, page.defective, edges, page.colors), label: `histogram ${label}` });
    const median = (kind) => page.median(counts.filter((_, k) => kind === undefined || page.defective[k] === kind));
    const medians = page.defective?.includes(1)
      ? `median of normal patches ${median(0)}, of defective ones ${median(1)}`
      : `median ${median()}`;
    page.say(`patch ${state.patch}: a similar one in ${own[state.patch]} of ${most} other images ${label}; ${medians}`);
  }

  function resize(width) {
    pictures.model.set("size", page.large(width));
    chart.model.set("width", Math.min(380, width));
  }

  return { draw, resize };
}

export default { name: "Counts", needsAll: true, render };

// Set the threshold by hand: which images are flagged, and how often that is right if there are labels.

function render(page, el) {
  const { data, state, colors } = page;
  const scores = data.imageScores;
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const step = (high - low) / 200 || 0.01;
  const range = { min: low - step, max: high + step, step, say: (value) => value.toFixed(3) };
  const line = host.slider("image threshold", range, (value) => page.change({ threshold: value }));
  const [beside, table] = [host.element("div", { class: "row" }), host.element("table", { class: "confusion" })];
  const gallery = host.element("div", { class: "gallery" });
  el.append(host.element("div", { class: "controls" }, line.el), beside, gallery);
  const chart = host.showChart(beside, {
    xlabel: "image score",
    ylabel: "share of each kind (%)",
    rule_name: "image threshold",
    onMove: (value) => page.change({ threshold: value }),
  });
  chart.model.set("data", host.histograms(scores, data.labels, host.evenEdges(scores, 15), colors));
  if (data.labels) beside.append(table);
  const order = core.ranking(scores);
  const ranked = host.showTiles(gallery, {
    pictures: page.pictures,
    grid: data.grid,
    label: "images by score; framed: flagged as defective",
    arrows: "tiles",
    onPick: (tile, patch) => page.choose(order[tile], patch),
  });
  const sorted = Float64Array.from(page.meanScores).sort();
  const [usual, highest, m] = [sorted[sorted.length >> 1], sorted.at(-1), page.batch.m];
  const layers = page.everyImage.map((i) =>
    host.coloredLayer(page.meanScores.subarray(i * m, (i + 1) * m), page.heat, usual, highest, (share) => 0.7 * share),
  );

  function draw() {
    line.set(state.threshold);
    // At the detector's own threshold its own decisions: it compares in another precision.
    const called = state.threshold === data.threshold ? data.flagged : scores.map((score) => score > state.threshold);
    chart.model.set("rules", [state.threshold]);
    ranked.model.set(
      "tiles",
      order.map((i) => ({
        picture: i,
        title: `${scores[i].toFixed(2)}`,
        name: data.names[i],
        layer: layers[i],
        frame: called[i] ? colors.defective : "",
      })),
    );
    let sentence = `${called.filter(Boolean).length} of ${called.length} images are flagged as defective`;
    if (data.labels) {
      const count = (label, call) => called.filter((each, i) => each === call && data.labels[i] === label).length;
      const cells = [0, 1].map((label) => [false, true].map((call) => count(label, call)));
      const [[, falseAlarms], [missed, found]] = cells;
      if (missed + found) {
        const precision = found + falseAlarms ? found / (found + falseAlarms) : 1;
        sentence += `: precision ${precision.toFixed(2)}, recall ${(found / (found + missed)).toFixed(2)}`;
      }
      fill(cells);
    }
    chart.model.set("label", sentence);
    page.say(sentence);
  }

  function fill(cells) {
    const row = (name, values, cell) => {
      const head = host.element("th", { scope: "row" }, name);
      return host.element("tr", {}, head, ...values.map((value) => host.element(cell, {}, `${value}`)));
    };
    const rows = ["normal", "defective"].map((name, label) => row(name, cells[label], "td"));
    const caption = host.element("caption", {}, "images");
    table.replaceChildren(caption, row("label", ["not flagged", "flagged"], "th"), ...rows);
  }

  function resize(width) {
    chart.model.set("width", Math.min(380, width));
    ranked.model.set("size", page.small(width));
  }

  return { draw, resize };
}

export default { name: "Threshold", render };

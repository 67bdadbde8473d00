// Choose windows: an image's neighbors, and every image's score before and after re-scoring.

const [N_NEIGHBORS, SIZES] = [12, [1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30]];

function render(page, el) {
  const { batch, data, state, colors } = page;
  const image = host.menu("image", page.imageNames, (i) => page.choose(i, state.patch));
  const boxes = new Map();
  const windows = host.element("fieldset", { class: "control" }, host.element("legend", {}, "windows (images)"));
  for (const size of [...new Set([...SIZES, ...data.windows])].sort((a, b) => a - b).filter((k) => k <= batch.n)) {
    const choose = () => page.change({ windows: [...boxes.keys()].filter((k) => boxes.get(k).checked) });
    boxes.set(size, host.element("input", { type: "checkbox", onchange: choose }));
    windows.append(host.element("label", {}, boxes.get(size), `${size}`));
  }
  const beside = host.element("div", { class: "row" });
  el.append(host.element("div", { class: "controls" }, image.el, windows), beside);
  const slopes = host.showChart(beside, {
    xticks: [[0, "before"], [1, "after"]],
    xlabel: "before and after re-scoring",
    ylabel: "image score",
    height: 280,
  });
  const neighbors = host.showTiles(el, {
    pictures: page.pictures,
    grid: data.grid,
    label: "most similar images first; framed: those of the largest window",
    arrows: "tiles",
    onPick: (tile) => page.choose(neighbors.model.get("tiles")[tile].picture, state.patch),
  });
  const before = core.scaled(data.mapScores);

  function draw() {
    const [i, after] = [state.image, core.rescore(data.mapScores, page.similarity, state.windows)];
    image.set(i);
    for (const [size, box] of boxes) box.checked = state.windows.includes(size);
    const largest = Math.max(1, ...state.windows);
    neighbors.model.set(
      "tiles",
      core.mostAlike(page.similarity, batch.n, i).slice(0, N_NEIGHBORS + 1).map((j, place) => ({
        picture: j,
        title: `${page.similarity[i * batch.n + j].toFixed(2)} image ${data.numbers[j]}`,
        frame: place < largest ? colors.threshold : "",
      })),
    );
    const kinds = before.map((_, k) => (data.labels ? ["normal", "defective"][data.labels[k]] : "unlabeled"));
    const lines = page.everyImage.map((k) => ({
      name: "",
      x: [0, 1],
      y: [before[k], after[k]],
      labels: [`image ${data.numbers[k]} before`, `image ${data.numbers[k]} after`],
      color: colors[kinds[k]],
      kind: "line",
      strong: k === i,
    }));
    for (const kind of new Set(kinds)) lines[kinds.indexOf(kind)].name = kind;
    let sentence = `image ${data.numbers[i]}: ${before[i].toFixed(2)} before, ${after[i].toFixed(2)} after, `;
    sentence += `rank ${core.rankOf(before, i)} before, ${core.rankOf(after, i)} after`;
    const measured = data.labels && [before, after].map((scores) => core.auroc(scores, data.labels));
    if (measured && measured[0] !== null) {
      sentence += `; image AUROC ${measured[0].toFixed(3)} before, ${measured[1].toFixed(3)} after`;
    }
    slopes.model.set({ data: lines, label: sentence });
    page.say(sentence);
  }

  function resize(width) {
    slopes.model.set("width", Math.min(420, width));
    neighbors.model.set("size", page.small(width));
  }

  return { draw, resize };
}

export default { name: "Re-scoring", render };

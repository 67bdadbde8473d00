// Starts the page: what all explorers share, their tabs, and the long work that some of them wait for.

const data = JSON.parse(document.getElementById("batch").textContent);
const batch = core.decode(data);
const explorers = { patch, counts, interval, threshold, ...(data.windows && { rescoring }) };
const [AT_ONCE, NARROW] = [24, 560]; // milliseconds of work between two looks at the reader; pixels

const page = {
  batch,
  data,
  colors: data.colors,
  pictures: data.pictures.map(core.bytes),
  heat: core.bytes(data.heat),
  viridis: core.bytes(data.viridis),
  everyImage: data.names.map((_, i) => i),
  imageNames: data.names.map((name, i) => `${data.numbers[i]}: ${name}`),
  defective: data.defective && core.bits(data.defective, batch.n * batch.m),
  patchScores: core.levels(data.patchScores),
  meanScores: core.levels(data.meanScores),
  similarity: core.levels(data.similarity),
  count: (number) => number.toLocaleString("en-US"),
  median(values) {
    const sorted = Float64Array.from(values).sort();
    return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
  },
  large: (width) => (width < NARROW ? Math.min(width - 8, 340) : 320),
  small: (width) => (width < NARROW ? Math.floor((width - 40) / 3) : 96), // three in a row, with a scroll bar
  nearest: () => table,
  say: (sentence) => (document.getElementById("status").textContent = sentence),
  change(news) {
    Object.assign(page.state, news);
    show();
  },
  choose: (image, patch) => page.change({ image, patch, compared: null }),
};

const first = core.ranking(data.imageScores)[0];
const ofFirst = page.patchScores.subarray(first * batch.m, (first + 1) * batch.m);
page.state = {
  image: first,
  patch: ofFirst.indexOf(Math.max(...ofFirst)),
  compared: null, // the image whose patches are colored; null: the nearest
  similar: data.similar,
  interval: data.interval,
  threshold: data.threshold ?? Math.max(...data.imageScores),
  windows: data.windows ?? [],
};

let table = null; // distances of all patches, once they are there
const shown = {}; // explorers that were opened
const panel = document.getElementById("panel");
const tabs = Object.entries(explorers).map(([id, { name }]) =>
  host.element("button", { role: "tab", id: `tab-${id}`, "aria-controls": "panel", onclick: () => open(id) }, name),
);
document.getElementById("tabs").append(...tabs);
document.getElementById("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});

const named = () => (location.hash.slice(1) in explorers ? location.hash.slice(1) : "patch");
const open = (id) => (named() === id ? show() : (location.hash = id));
addEventListener("hashchange", show);

function show() {
  const id = named();
  tabs.forEach((tab) => {
    tab.setAttribute("aria-selected", tab.id === `tab-${id}`);
    tab.tabIndex = tab.id === `tab-${id}` ? 0 : -1;
  });
  panel.setAttribute("aria-labelledby", `tab-${id}`);
  for (const [other, { el }] of Object.entries(shown)) el.hidden = other !== id;
  if (explorers[id].needsAll && !table) return compareAll();
  if (!shown[id]) {
    const el = host.element("div", {});
    panel.append(el);
    shown[id] = { el, ...explorers[id].render(page, el) };
    shown[id].resize(panelWidth());
  }
  shown[id].draw();
}

const panelWidth = () => Math.max(240, panel.clientWidth); // a frame that is not laid out has no width

let work = null;
function compareAll() {
  work ??= core.allNearest(batch);
  const until = performance.now() + AT_ONCE;
  let step;
  do step = work.next();
  while (!step.done && performance.now() < until);
  if (step.done) table = step.value;
  else page.say(`comparing all patches of ${batch.n} images: ${10 * Math.floor(10 * step.value)} %`);
  if (step.done) show();
  else setTimeout(() => explorers[named()].needsAll && compareAll());
}

new ResizeObserver(() => {
  for (const { resize, el } of Object.values(shown)) if (!el.hidden) resize(panelWidth());
}).observe(panel);

// In a frame the page around it has the heading and the colors, and makes room.
if (parent !== window) {
  const root = document.documentElement;
  root.classList.add("framed");
  new ResizeObserver(() => parent.postMessage({ muscHeight: root.offsetHeight }, "*")).observe(root);
  addEventListener("message", ({ source, data: { muscTheme } }) => {
    if (source === parent && ["light", "dark"].includes(muscTheme)) root.style.colorScheme = muscTheme;
  });
}
show();

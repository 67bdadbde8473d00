// What Jupyter gives a view and a page does not: the model that it draws, and the controls around it.

// The part of anywidget's model that views use. `receive` gets what a view sends, such as the patch that was picked.
function makeModel(values, receive) {
  const calls = new Map(); // event: functions
  const tell = (event, ...news) => [...(calls.get(event) ?? [])].forEach((call) => call(...news));
  const model = {
    get: (name) => values[name],
    set(name, value) {
      const given = typeof name === "string" ? { [name]: value } : name;
      const changed = Object.keys(given).filter((key) => given[key] !== values[key]);
      Object.assign(values, given);
      for (const key of changed) tell(`change:${key}`, model, values[key]);
      if (changed.length) tell("change", model);
    },
    on(events, call) {
      for (const event of events.split(" ")) calls.set(event, [...(calls.get(event) ?? []), call]);
    },
    off(events, call) {
      for (const event of events.split(" ")) {
        calls.set(event, call ? (calls.get(event) ?? []).filter((each) => each !== call) : []);
      }
    },
    // As from a kernel, an answer comes when the view is done with what it does.
    send: (content) => receive?.(content, (answer) => queueMicrotask(() => tell("msg:custom", answer))),
    save_changes: () => {},
  };
  return model;
}

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// A view of Jupyter in an element of its own: what is drawn is what its model holds.
function show(view, parent, values, receive) {
  const el = element("div", { class: "view" });
  parent.append(el);
  const model = makeModel(values, receive);
  view.render({ model, el, experimental: {} });
  return { model, el };
}

// Pictures (tiles.py): onPick(tile, patch) hears of clicks and keys, onPoint(tile, patch or null) of the mouse above.
function showTiles(parent, { onPick, onPoint, ...values }) {
  const empty = { pictures: [], tiles: [], grid: [1, 1], size: 96, grow: 1, label: "", arrows: "patches" };
  const asked = { clickable: Boolean(onPick), pointable: Boolean(onPoint), draggable: false };
  return show(tiles, parent, { ...empty, ...asked, ...values }, ({ tile, patch, point }, answer) => {
    if (Number.isInteger(patch)) onPick?.(tile, patch);
    else if (point !== undefined) {
      onPoint?.(tile, point);
      answer({ pointed: point });
    }
  });
}

// A chart (chart.py): onMove(x) hears of the first rule while it is dragged.
function showChart(parent, { onMove, ...values }) {
  const empty = { data: [], shaded: [], rules: [], xticks: [], title: "", xlabel: "", ylabel: "", label: "" };
  const asked = { rule_name: "", width: 330, height: 240, movable: Boolean(onMove), clickable: false };
  return show(chart, parent, { ...empty, ...asked, ...values }, ({ rule }) => rule !== undefined && onMove?.(rule));
}

// Named controls: each calls `change` with its new value, and `set` moves it without a call.
function menu(name, options, change) {
  const select = element("select", { onchange: () => change(Number(select.value)) });
  options.forEach((text, value) => select.append(element("option", { value }, text)));
  return { el: element("label", { class: "control" }, `${name} `, select), set: (value) => (select.value = value) };
}

function slider(name, { min, max, step, say = (value) => value.toFixed(2) }, change) {
  const said = element("output", {});
  const input = element("input", { type: "range", min, max, step, oninput: () => change(Number(input.value)) });
  const set = (value) => {
    input.value = value;
    said.textContent = say(value);
    input.setAttribute("aria-valuetext", said.textContent);
  };
  return { el: element("label", { class: "control" }, `${name} `, input, " ", said), set };
}

// One color for each value: the RGBA bytes that tiles lay over a picture (`colored_layer`).
function coloredLayer(values, colors, low, high, opacity) {
  const layer = new Uint8Array(4 * values.length);
  for (let k = 0; k < values.length; k++) {
    const share = Math.min(1, Math.max(0, (values[k] - low) / Math.max(high - low, 1e-12)));
    layer.set(colors.subarray(3 * Math.round(255 * share), 3 * Math.round(255 * share) + 3), 4 * k);
    layer[4 * k + 3] = Math.round(255 * (typeof opacity === "function" ? opacity(share) : opacity));
  }
  return layer;
}

// The scale of such colors, and what a patch says under the pointer (tiles.py).
function colorBar(colors, low, high, words) {
  const nine = Array.from({ length: 9 }, (_, k) => 3 * Math.round((255 * k) / 8));
  return { low, high, words, colors: nine.map((at) => `rgb(${colors.subarray(at, at + 3).join()})`) };
}
const valuesOf = (values) => new Uint8Array(Float32Array.from(values).buffer);

// Entries of a chart: how values are distributed, in percent of each kind.
function histograms(values, kinds, edges, colors) {
  const names = kinds ? ["normal", "defective"] : ["unlabeled"];
  return names.flatMap((name, kind) => {
    const own = kinds ? [...values].filter((_, k) => kinds[k] === kind) : [...values];
    if (!own.length) return [];
    const counts = new Array(edges.length - 1).fill(0);
    const bar = (value) => Math.floor((value - edges[0]) / (edges[1] - edges[0]));
    for (const value of own) counts[Math.min(counts.length - 1, Math.max(0, bar(value)))] += 1;
    const y = [...counts, counts.at(-1)].map((count) => (100 * count) / own.length);
    return [{ name: kinds ? name : "all", x: edges, y, color: colors[name], kind: "steps" }];
  });
}

function evenEdges(values, count) {
  const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const width = (high - low || 1) / count;
  return Array.from({ length: count + 1 }, (_, k) => low + k * width);
}

export default {
  makeModel, element, showTiles, showChart, menu, slider, coloredLayer, colorBar, valuesOf, histograms, evenEdges,
};

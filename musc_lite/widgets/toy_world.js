// Shows the plane of toy_world.py, whose points can be dragged, and the scores of all points beside it.

const plane = { width: 570, height: 330 };
const strip = { width: 230, height: 330, left: 34, right: 16, top: 14, bottom: 42 };
const radius = 9;
const decimals = 2; // of a place
const step = 0.1; // of the arrow keys; ten times as far with Shift
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function add(name, properties, parent) {
  const node = Object.assign(document.createElement(name), properties);
  parent.append(node);
  return node;
}

function draw(name, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function frameOf(points) {
  const [xs, ys] = [0, 1].map((k) => points.flat().map((point) => point[k]));
  const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const margin = 0.1 * Math.max(right - left, top - bottom, 1e-9);
  const scale = Math.min(plane.width / (right - left + 2 * margin), plane.height / (top - bottom + 2 * margin));
  const [x, y] = [(left + right) / 2, (bottom + top) / 2];
  const [halfWidth, halfHeight] = [plane.width / scale / 2, plane.height / scale / 2];
  return { scale, left: x - halfWidth, right: x + halfWidth, bottom: y - halfHeight, top: y + halfHeight };
}

function isBright(color) {
  const [red, green, blue] = [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue > 128;
}

function ticks(high) {
  const power = 10 ** Math.floor(Math.log10(high / 3));
  const between = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= high / 4);
  return Array.from({ length: Math.floor(high / between + 1e-9) + 1 }, (_, k) => Number((k * between).toPrecision(6)));
}

function render({ model, el }) {
  const group = add("div", { className: "musc-toy", role: "group", ariaLabel: "points that score each other" }, el);
  const bar = add("div", { className: "musc-toy-bar" }, group);
  const menu = add("select", { ariaLabel: "chosen point" }, bar);
  const label = add("label", {}, bar);
  const before = add("span", { textContent: "score: mean over the closest" }, label);
  const slider = add("input", { type: "range", min: 1, step: 1, ariaLabel: "closest images" }, label);
  const taken = add("span", {}, label);
  const reset = add("button", { type: "button", textContent: "back to the beginning" }, bar);
  const words = add("div", { className: "musc-toy-words", role: "status", ariaLive: "polite" }, group);
  const views = add("div", { className: "musc-toy-views" }, group);
  const field = draw("svg", { viewBox: `0 0 ${plane.width} ${plane.height}`, class: "musc-toy-plane" }, views);
  field.setAttribute("tabindex", 0);
  field.setAttribute("role", "application");
  field.setAttribute("aria-label", "plane: arrow keys move the chosen point, with Shift ten times as far");
  const chart = draw("svg", { viewBox: `0 0 ${strip.width} ${strip.height}`, class: "musc-toy-scores" }, views);
  chart.setAttribute("role", "img");

  const frame = frameOf(model.get("beginning"));
  const toX = (x) => (x - frame.left) * frame.scale;
  const toY = (y) => (frame.top - y) * frame.scale;
  let points = model.get("points");
  let drag = null;

  function colorOf(score) {
    const heat = model.get("heat");
    return heat[Math.round(clamp(score / (model.get("high") || 1), 0, 1) * (heat.length - 1))];
  }

  function dot(parent, x, y, r, color, chosen) {
    const node = draw("g", { transform: `translate(${x} ${y})`, class: "musc-toy-point" }, parent);
    if (chosen) draw("circle", { r: r + 5, class: "musc-toy-ring" }, node);
    draw("circle", { r, fill: color }, node);
    return node;
  }

  function inOrder(visit) {
    // The chosen point comes last: it lies on top.
    const [i, m] = model.get("selected");
    points.forEach((patches, j) => patches.forEach((_, n) => (j === i && n === m ? null : visit(j, n, false))));
    visit(i, m, true);
  }

  function drawPlane() {
    const [[i, m], scores, links] = ["selected", "scores", "links"].map((name) => model.get(name));
    field.replaceChildren();
    const [x, y] = [toX(points[i][m][0]), toY(points[i][m][1])];
    for (const { image, patch, distance, counts } of [...links].reverse()) {
      const [toward, up] = [toX(points[image][patch][0]), toY(points[image][patch][1])];
      draw("path", { d: `M${x},${y}L${toward},${up}`, class: counts ? "musc-toy-counts" : "musc-toy-left-out" }, field);
    }
    inOrder((j, n, chosen) => {
      const color = colorOf(scores[j][n]);
      const node = dot(field, toX(points[j][n][0]), toY(points[j][n][1]), radius, color, chosen);
      Object.assign(node.dataset, { image: j, patch: n });
      draw("text", { "text-anchor": "middle", y: 3.5, fill: isBright(color) ? "black" : "white" }, node, j);
      draw("circle", { r: 1.6 * radius, class: "musc-toy-reach" }, node);
    });
  }

  function drawScores() {
    const scores = model.get("scores");
    const high = Math.max(model.get("high"), ...scores.flat(), 1e-9);
    const [right, bottom] = [strip.width - strip.right, strip.height - strip.bottom];
    const x = (score) => strip.left + radius + (score / high) * (right - strip.left - radius);
    const y = (image) => strip.top + ((image + 0.5) / scores.length) * (bottom - strip.top);
    chart.replaceChildren();
    chart.setAttribute("aria-label", `scores of all points; ${model.get("sentence")}`);
    draw("path", { d: `M${strip.left},${strip.top}V${bottom}H${right}`, class: "musc-toy-axis" }, chart);
    for (const tick of ticks(high)) {
      draw("path", { d: `M${x(tick)},${bottom}v4`, class: "musc-toy-axis" }, chart);
      draw("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle" }, chart, tick);
    }
    draw("text", { x: (strip.left + right) / 2, y: strip.height - 8, "text-anchor": "middle" }, chart, "score");
    scores.forEach((_, j) => {
      draw("text", { x: strip.left - 8, y: y(j) + 3.5, "text-anchor": "end" }, chart, j);
    });
    const middle = (strip.top + bottom) / 2;
    const turned = { x: 10, y: middle, "text-anchor": "middle", transform: `rotate(-90 10 ${middle})` };
    draw("text", turned, chart, "image");
    inOrder((j, n, chosen) => dot(chart, x(scores[j][n]), y(j), radius / 2, colorOf(scores[j][n]), chosen));
  }

  function showControls() {
    const [[i, m], closest] = ["selected", "closest"].map((name) => model.get(name));
    const [nImages, nPatches] = [points.length, points[0].length];
    if (menu.length !== nImages * nPatches) {
      const all = points.flatMap((patches, j) => patches.map((_, n) => new Option(`image ${j}, patch ${n}`)));
      menu.replaceChildren(...all);
    }
    menu.selectedIndex = i * nPatches + m;
    slider.max = nImages - 1;
    slider.value = closest;
    slider.ariaValueText = taken.textContent = `${closest} of ${nImages - 1} other images`;
  }

  function show() {
    if (!drag) points = model.get("points");
    words.textContent = model.get("sentence");
    showControls();
    drawPlane();
    drawScores();
  }

  function send(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  function move(i, m, to) {
    const edge = (radius + 1) / frame.scale;
    const [low, high] = [[frame.left, frame.bottom], [frame.right, frame.top]];
    const place = to.map((value, k) => Number(clamp(value, low[k] + edge, high[k] - edge).toFixed(decimals)));
    points = points.map((patches, j) => patches.map((point, n) => (j === i && n === m ? place : point)));
    drawPlane();
    send("points", points);
  }

  function at(event) {
    const box = field.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return [frame.left + x * (frame.right - frame.left), frame.top - y * (frame.top - frame.bottom)];
  }

  field.addEventListener("pointerdown", (event) => {
    const dragged = event.target.closest(".musc-toy-point");
    if (!dragged || event.button !== 0 || !event.isPrimary) return;
    event.preventDefault();
    field.focus({ preventScroll: true });
    field.setPointerCapture(event.pointerId);
    const [i, m] = [Number(dragged.dataset.image), Number(dragged.dataset.patch)];
    const [[x, y], begin] = [points[i][m], at(event)];
    send("selected", [i, m]);
    drag = ([hereX, hereY]) => move(i, m, [x + hereX - begin[0], y + hereY - begin[1]]);
  });
  field.addEventListener("pointermove", (event) => drag && event.isPrimary && drag(at(event)));
  for (const end of ["pointerup", "pointercancel"]) field.addEventListener(end, () => (drag = null));
  field.addEventListener("keydown", (event) => {
    const arrow = arrows[event.key];
    if (!arrow) return;
    event.preventDefault();
    event.stopPropagation();
    const [i, m] = model.get("selected");
    const far = event.shiftKey ? 10 * step : step;
    move(i, m, [0, 1].map((k) => points[i][m][k] + far * arrow[k]));
  });
  function choose(place) {
    const nPatches = points[0].length;
    const index = clamp(place, 0, menu.length - 1);
    send("selected", [Math.floor(index / nPatches), index % nPatches]);
  }

  const count = (closest) => send("closest", clamp(closest, 1, points.length - 1));

  function onArrows(node, steps, act) {
    // JupyterLab sends arrow keys on as events of its own, which move no menu or slider.
    node.addEventListener("keydown", (event) => {
      const sign = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: -steps, ArrowDown: steps }[event.key];
      if (!sign || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      act(sign);
    });
  }

  menu.addEventListener("change", () => choose(menu.selectedIndex));
  slider.addEventListener("input", () => count(Number(slider.value)));
  onArrows(menu, 1, (by) => choose(menu.selectedIndex + by));
  onArrows(slider, -1, (by) => count(model.get("closest") + by));
  reset.addEventListener("click", () => send("points", model.get("beginning")));

  model.on("change", show);
  show();
  return () => model.off("change", show);
}

export default { render };

// Draws the chart of chart.py as SVG, in the colors of the page around it; reads out what is under the pointer.

const NS = "http://www.w3.org/2000/svg";

function make(name, attributes, parent, text) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function ticks(low, high) {
  const rough = (high - low || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, k) => Number(((first + k) * step).toPrecision(10)));
}

const line = (points) => "M" + points.map((point) => point.join(",")).join("L");

const stairs = ([[x, y], ...rest]) => `M${x},${y}` + rest.map(([nextX, nextY]) => `H${nextX}V${nextY}`).join("");

const short = (value) => String(Number(value.toPrecision(3)));

// Where the axes lie, below what stands on top, and both scales.
function frame(model, all, top) {
  const get = (name, otherwise) => model.get(name) ?? otherwise;
  const [width, height] = [get("width", 340), get("height", 230)];
  const area = { left: 50, right: width - 14, top, bottom: height - 38 };
  const xs = all.flatMap((entry) => entry.x).concat(get("shaded", []), get("rules", []));
  const ys = all.flatMap((entry) => entry.y);
  const [xLow, xHigh] = [Math.min(...xs), Math.max(...xs)];
  const [yLow, yHigh] = [Math.min(0, ...ys), Math.max(...ys, 1e-9) * 1.05];
  const x = (value) => area.left + ((value - xLow) / (xHigh - xLow || 1)) * (area.right - area.left);
  const y = (value) => area.bottom - ((value - yLow) / (yHigh - yLow)) * (area.bottom - area.top);
  const back = (place) => xLow + ((place - area.left) / (area.right - area.left)) * (xHigh - xLow);
  return { ...area, width, height, x, y, back, xLow, xHigh, yLow, yHigh };
}

function axes(svg, model, f) {
  const { left, right, top, bottom, x, y } = f;
  make("path", { d: `M${left},${top}V${bottom}H${right}`, class: "musc-axis" }, svg);
  const named = model.get("xticks") ?? [];
  for (const [at, text] of named.length ? named : ticks(f.xLow, f.xHigh).map((tick) => [tick, tick])) {
    make("path", { d: `M${x(at)},${bottom}v4`, class: "musc-axis" }, svg);
    const anchor = !named.length ? "middle" : x(at) < left + 40 ? "start" : x(at) > right - 40 ? "end" : "middle";
    make("text", { x: x(at), y: bottom + 16, "text-anchor": anchor }, svg, text);
  }
  for (const tick of ticks(f.yLow, f.yHigh)) {
    make("path", { d: `M${left},${y(tick)}h-4`, class: "musc-axis" }, svg);
    make("text", { x: left - 7, y: y(tick) + 4, "text-anchor": "end" }, svg, tick);
  }
  make("text", { x: (left + right) / 2, y: f.height - 5, "text-anchor": "middle" }, svg, model.get("xlabel"));
  const middle = (top + bottom) / 2;
  const turned = { x: 13, y: middle, "text-anchor": "middle", transform: `rotate(-90 13 ${middle})` };
  make("text", turned, svg, model.get("ylabel"));
}

function mark(svg, { x, y, bottom }, entry) {
  const { color, kind, strong, hollow } = entry;
  const points = entry.x.map((value, k) => [x(value), y(entry.y[k])]);
  if (kind === "steps") {
    const area = { fill: color, "fill-opacity": 0.35, stroke: color };
    make("path", { d: `${stairs([[points[0][0], bottom], ...points])}V${bottom}Z`, ...area }, svg);
  } else if (kind === "points") {
    const look = hollow ? { r: 3.5, fill: "none", stroke: color, "stroke-width": 2 } : { r: 3, fill: color };
    for (const [cx, cy] of points) make("circle", { cx, cy, ...look }, svg);
  } else {
    const stroke = { stroke: color, "stroke-width": strong ? 4 : 2, "stroke-opacity": strong === false ? 0.35 : 1 };
    if (kind === "dashed") stroke["stroke-dasharray"] = "5 4";
    make("path", { d: kind === "stairs" ? stairs(points) : line(points), fill: "none", ...stroke }, svg);
  }
}

// Title and legend, in as many lines as they take; gives where the plot begins.
function heading(svg, model, all) {
  const [left, right, title] = [50, model.get("width") - 8, model.get("title")];
  if (title) make("text", { x: left, y: 14, class: "musc-title" }, svg, title);
  let [at, y] = [left, title ? 32 : 15];
  for (const { name, color, hollow, kind } of all) {
    if (!name) continue;
    const text = make("text", {}, svg, name);
    const long = text.getComputedTextLength?.() || 6.5 * name.length;
    if (at > left && at + 15 + long > right) [at, y] = [left, y + 17];
    const [stroke, place] = [{ stroke: color, "stroke-width": 2 }, { x: at + 1, y: y - 9, width: 9, height: 9 }];
    if (kind === "dashed") make("path", { d: `M${at},${y - 4}h12`, ...stroke, "stroke-dasharray": "5 3" }, svg);
    else make("rect", { ...place, ...stroke, fill: hollow ? "none" : color }, svg);
    for (const [key, value] of [["x", at + 15], ["y", y]]) text.setAttribute(key, value);
    at += 27 + long;
  }
  return y + 12;
}

// What can be read out: bars, points and corners of lines, each with its words.
function places(model, f) {
  const [xName, yName] = [model.get("xlabel"), model.get("ylabel")];
  const ticksOf = new Map(model.get("xticks") ?? []);
  return (model.get("data") ?? []).flatMap((entry, k) =>
    entry.kind === "dashed"
      ? []
      : entry.x.slice(0, entry.kind === "steps" ? -1 : undefined).map((at, index) => {
          const [here, next] = [at, entry.kind === "steps" ? entry.x[index + 1] : at];
          const range = next === here ? (ticksOf.get(here) ?? short(here)) : `${short(here)} to ${short(next)}`;
          const where = entry.labels?.[index] ?? `${xName}: ${range}`;
          const words = `${where}; ${entry.name ? `${entry.name}, ` : ""}${yName}: ${short(entry.y[index])}`;
          return { entry: k, index, words, x: f.x((here + next) / 2), y: f.y(entry.y[index]), from: f.x(here), to: f.x(next) };
        }),
  );
}

function render({ model, el }) {
  const svg = make("svg", { class: "musc-chart" }, el);
  let [f, spots, here, layer, held] = [null, [], null, null, false];

  function draw() {
    const all = (model.get("data") ?? []).filter((entry) => entry.x.length);
    const [shaded, rules] = [model.get("shaded") ?? [], model.get("rules") ?? []];
    const focused = svg.contains(document.activeElement) && document.activeElement !== svg;
    svg.replaceChildren();
    for (const name of ["width", "height"]) svg.setAttribute(name, model.get(name));
    svg.setAttribute("viewBox", `0 0 ${model.get("width")} ${model.get("height")}`);
    const clickable = model.get("clickable");
    svg.setAttribute("role", clickable || model.get("movable") ? "group" : "img");
    svg.setAttribute("aria-label", model.get("label") || model.get("title") || "");
    if (clickable) svg.setAttribute("tabindex", 0);
    svg.style.cursor = clickable ? "pointer" : "";
    if (!all.length) return;
    f = frame(model, all, heading(svg, model, all));
    if (shaded.length === 2) {
      const box = { x: f.x(shaded[0]), width: f.x(shaded[1]) - f.x(shaded[0]), y: f.top, height: f.bottom - f.top };
      make("rect", { ...box, class: "musc-shaded" }, svg);
    }
    axes(svg, model, f);
    for (const entry of all) if (!entry.strong) mark(svg, f, entry);
    for (const entry of all) if (entry.strong) mark(svg, f, entry);
    rules.forEach((rule, k) => {
      make("path", { d: `M${f.x(rule)},${f.top}V${f.bottom}`, class: "musc-rule" }, svg);
      if (k === 0 && model.get("movable")) handle(rule, focused);
    });
    spots = places(model, f);
    layer = make("g", { "pointer-events": "none" }, svg);
    if (here) show(spots.find((spot) => spot.entry === here.entry && spot.index === here.index));
  }

  function handle(rule, focused) {
    const at = f.x(rule);
    const knob = make("path", { d: `M${at - 8},${f.top - 4}h16l-8,12z`, class: "musc-handle", tabindex: 0, role: "slider" }, svg);
    const words = { "aria-label": model.get("rule_name"), "aria-valuenow": rule, "aria-valuemin": f.xLow, "aria-valuemax": f.xHigh };
    for (const [key, value] of Object.entries(words)) knob.setAttribute(key, value);
    knob.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      move(rule + (step * (f.xHigh - f.xLow)) / 100);
    });
    if (focused) knob.focus();
  }

  function move(value) {
    model.send({ rule: Math.min(f.xHigh, Math.max(f.xLow, value)) });
  }

  function show(spot) {
    here = spot ?? null;
    layer?.replaceChildren();
    if (!spot) return;
    make("circle", { cx: spot.x, cy: spot.y, r: 5, class: "musc-here" }, layer);
    const text = make("text", { x: 0, y: 0 }, layer, spot.words);
    const long = text.getComputedTextLength?.() || 6 * spot.words.length;
    const left = Math.max(2, Math.min(spot.x - long / 2, f.width - long - 8));
    const top = spot.y > f.top + 30 ? spot.y - 14 : spot.y + 26;
    for (const [key, value] of [["x", left + 4], ["y", top]]) text.setAttribute(key, value);
    const plate = make("rect", { x: left, y: top - 13, width: long + 8, height: 18, rx: 3, class: "musc-plate" }, layer);
    layer.insertBefore(plate, text);
  }

  function at(event) {
    const box = svg.getBoundingClientRect();
    return [((event.clientX - box.left) * f.width) / box.width, ((event.clientY - box.top) * f.height) / box.height];
  }

  function nearest(event) {
    const [px, py] = at(event);
    const far = (s) => (px >= s.from && px <= s.to && s.to > s.from ? 0.1 * Math.abs(s.y - py) : Math.hypot(s.x - px, s.y - py));
    return spots.reduce((best, spot) => (best && far(best) <= far(spot) ? best : spot), null);
  }

  function pick(spot) {
    if (spot && model.get("clickable")) model.send({ entry: spot.entry, index: spot.index });
  }

  svg.addEventListener("pointerdown", (event) => {
    if (!f || !model.get("movable") || !model.get("rules")?.length) return;
    held = Math.abs(at(event)[0] - f.x(model.get("rules")[0])) < (event.pointerType === "touch" ? 24 : 10);
    if (!held) return;
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (held) move(f.back(at(event)[0]));
    else if (f) show(nearest(event));
  });
  for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, () => (held = false));
  svg.addEventListener("pointerleave", () => held || show(null));
  svg.addEventListener("click", (event) => f && pick(nearest(event)));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      const next = spots.findIndex((spot) => here && spot.entry === here.entry && spot.index === here.index) + step;
      show(spots[Math.min(spots.length - 1, Math.max(0, next))]);
      svg.setAttribute("aria-label", here.words);
    } else if (event.key === "Enter") pick(here);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  svg.style.touchAction = "pan-y";

  model.on("change", draw);
  draw();
  const later = requestAnimationFrame(draw); // once more when text can be measured
  return () => {
    cancelAnimationFrame(later);
    model.off("change", draw);
  };
}

export default { render };

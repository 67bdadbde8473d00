// Draws the chart of chart.py as SVG, in the colors of the page around it.

const margin = { left: 48, right: 12, top: 24, bottom: 36 };

function make(name, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, k) => Number(((first + k) * step).toPrecision(10)));
}

const line = (points) => "M" + points.map((point) => point.join(",")).join("L");

const stairs = ([[x, y], ...rest]) => `M${x},${y}` + rest.map(([nextX, nextY]) => `H${nextX}V${nextY}`).join("");

function render({ model, el }) {
  const svg = make("svg", { role: "img", class: "musc-chart" }, el);

  function draw() {
    const [data, shaded, rules, width, height] = ["data", "shaded", "rules", "width", "height"].map((n) => model.get(n));
    svg.replaceChildren();
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.setAttribute("aria-label", model.get("label"));
    const all = data.filter((entry) => entry.x.length);
    if (!all.length) return;
    const xs = all.flatMap((entry) => entry.x).concat(shaded, rules);
    const ys = all.flatMap((entry) => entry.y);
    const [xLow, xHigh] = [Math.min(...xs), Math.max(...xs)];
    const [yLow, yHigh] = [Math.min(0, ...ys), Math.max(...ys, 1e-9) * 1.05];
    const [right, bottom] = [width - margin.right, height - margin.bottom];
    const x = (value) => margin.left + ((value - xLow) / (xHigh - xLow || 1)) * (right - margin.left);
    const y = (value) => bottom - ((value - yLow) / (yHigh - yLow)) * (bottom - margin.top);

    if (shaded.length === 2) {
      const box = { x: x(shaded[0]), width: x(shaded[1]) - x(shaded[0]), y: margin.top, height: bottom - margin.top };
      make("rect", { ...box, class: "musc-shaded" }, svg);
    }
    make("path", { d: `M${margin.left},${margin.top}V${bottom}H${right}`, class: "musc-axis" }, svg);
    for (const tick of ticks(xLow, xHigh)) {
      make("path", { d: `M${x(tick)},${bottom}v4`, class: "musc-axis" }, svg);
      make("text", { x: x(tick), y: bottom + 15, "text-anchor": "middle" }, svg, tick);
    }
    for (const tick of ticks(yLow, yHigh)) {
      make("path", { d: `M${margin.left},${y(tick)}h-4`, class: "musc-axis" }, svg);
      make("text", { x: margin.left - 7, y: y(tick) + 3.5, "text-anchor": "end" }, svg, tick);
    }
    make("text", { x: (margin.left + right) / 2, y: height - 4, "text-anchor": "middle" }, svg, model.get("xlabel"));
    const middle = (margin.top + bottom) / 2;
    const turned = { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` };
    make("text", turned, svg, model.get("ylabel"));

    let legend = margin.left;
    for (const { name, x: xData, y: yData, color, kind } of all) {
      const points = xData.map((value, k) => [x(value), y(yData[k])]);
      if (kind === "steps") {
        const area = { fill: color, "fill-opacity": 0.35, stroke: color };
        make("path", { d: `${stairs([[points[0][0], bottom], ...points])}V${bottom}Z`, ...area }, svg);
      } else if (kind === "points") {
        for (const [cx, cy] of points) make("circle", { cx, cy, r: 2.5, fill: color }, svg);
      } else {
        const stroke = { stroke: color, "stroke-width": 2, "stroke-dasharray": kind === "dashed" ? "5 4" : "none" };
        make("path", { d: kind === "stairs" ? stairs(points) : line(points), fill: "none", ...stroke }, svg);
      }
      if (!name) continue;
      make("rect", { x: legend, y: 6, width: 10, height: 10, fill: color }, svg);
      const text = make("text", { x: legend + 14, y: 15 }, svg, name);
      legend += 28 + (text.getComputedTextLength?.() || 6 * name.length);
    }
    for (const rule of rules) make("path", { d: `M${x(rule)},${margin.top}V${bottom}`, class: "musc-rule" }, svg);
  }

  model.on("change", draw);
  draw();
  requestAnimationFrame(draw); // once more when text can be measured
}

export default { render };

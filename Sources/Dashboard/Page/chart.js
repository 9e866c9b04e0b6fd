"use strict";

/* Elements and charts. Texts of runs are set as text, never as markup. */

const svgSpace = "http://www.w3.org/2000/svg";

/* An element with attributes and children; a child that is no node becomes text. */
function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(svgSpace, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/* Numbers as the terminal shows them; what is not known is a dash. */
const show = {
  count: (n) => (n === null || n === undefined ? "–" : Math.round(n).toLocaleString("en-US")),
  percent: (n) => (n === null || n === undefined ? "–" : (n * 100).toFixed(1) + " %"),
  number: (n) => {
    if (n === null || n === undefined || !isFinite(n)) return "–";
    const size = Math.abs(n);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return n.toExponential(2);
    return String(+n.toPrecision(4));
  },
  rate: (n) => {
    if (n === null || n === undefined) return "–";
    if (n < 1000) return String(Math.round(n));
    return n < 1e6 ? +(n / 1e3).toPrecision(3) + "k" : +(n / 1e6).toPrecision(3) + "M";
  },
  milliseconds: (n) => (n === null || n === undefined ? "–" : +(n * 1000).toPrecision(3) + " ms"),
  duration: (seconds) => {
    if (seconds === null || seconds === undefined) return "–";
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " min";
    if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
    return Math.floor(s / 86400) + " days";
  },
};

/* Round values that divide a range into about `wanted` parts. */
function ticks(low, high, wanted) {
  if (!(high > low)) return [low];
  const rough = (high - low) / wanted;
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const size = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const found = [];
  for (let n = Math.ceil(low / size); n * size <= high * (1 + 1e-12) + 1e-300; n += 1) found.push(n * size);
  return found;
}

/* A chart of curves over the step.
   options: {id, title, curves: [{name, color, dash, steps, values}], format, marks: [step], best, fromZero} */
function chart(options) {
  const width = drawingWidth(620), height = 280, left = 56, right = 12, top = 10, bottom = 40;
  const curves = options.curves.filter((curve) => curve.steps.length > 0);
  const caption = element("figcaption", { id: options.id + "-title" }, options.title);
  const figure = element("figure", { id: options.id }, caption);
  if (curves.length === 0) {
    figure.append(element("p", { class: "note" }, "Nothing was measured yet."));
    return figure;
  }
  const all = curves.flatMap((curve) => curve.values);
  let low = Math.min(...all), high = Math.max(...all);
  if (options.fromZero) low = Math.min(0, low);
  if (low === high) [low, high] = [low - Math.abs(low) * 0.1 - 1e-9, high + Math.abs(high) * 0.1 + 1e-9];
  const first = Math.min(...curves.map((curve) => curve.steps[0]));
  const last = Math.max(first + 1, ...curves.map((curve) => curve.steps[curve.steps.length - 1]));
  const x = (step) => left + ((step - first) / (last - first)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const drawing = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: "0",
    "aria-label": `${options.title}. ` + curves.map((curve) =>
      `${curve.name}: ${options.format(curve.values[curve.values.length - 1])} at step ${show.count(curve.steps[curve.steps.length - 1])}`).join("; ")
      + ". Left and right arrow keys move along the curves; the values are in the table below.",
  });
  for (const value of ticks(low, high, 5)) {
    drawing.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, options.format(value)));
  }
  for (const step of ticks(first, last, width < 500 ? 4 : 6)) {
    drawing.append(svg("text", { x: x(step), y: height - bottom + 18, "text-anchor": "middle" }, show.rate(step)));
  }
  drawing.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
    svg("text", { x: width - right, y: height - 4, "text-anchor": "end" }, "step"));
  for (const step of options.marks || []) {
    if (step < first || step > last) continue;
    const place = x(step), base = height - bottom;
    drawing.append(svg("path", {
      class: step === options.best ? "mark best" : "mark", d: `M${place - 4} ${base + 8}h8l-4 -8z`,
    }, svg("title", {}, `checkpoint of step ${show.count(step)}` + (step === options.best ? ", the best" : ""))));
  }
  for (const curve of curves) {
    const points = curve.steps.map((step, index) => `${x(step).toFixed(1)} ${y(curve.values[index]).toFixed(1)}`);
    const path = svg("path", { class: "curve", d: "M" + points.join("L"), "stroke-dasharray": curve.dash || null });
    path.style.stroke = `var(--series-${curve.color % 8})`;
    drawing.append(path);
    if (points.length === 1) {
      const dot = svg("circle", { cx: x(curve.steps[0]), cy: y(curve.values[0]), r: 3 });
      dot.style.fill = `var(--series-${curve.color % 8})`;
      drawing.append(dot);
    }
  }
  const cursor = svg("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" });
  drawing.append(cursor);
  const readout = element("p", { class: "readout", "aria-live": "polite" });
  const steps = [...new Set(curves.flatMap((curve) => curve.steps))].sort((a, b) => a - b);
  let place = null;
  function point(index) {
    place = Math.max(0, Math.min(steps.length - 1, index));
    const step = steps[place];
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
    cursor.setAttribute("visibility", "visible");
    readout.textContent = `step ${show.count(step)}: ` + curves.map((curve) => {
      const at = nearest(curve.steps, step);
      return `${curve.name} ${options.format(curve.values[at])}`;
    }).join(", ");
  }
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const step = first + ((((event.clientX - box.left) / box.width) * width - left) / (width - left - right)) * (last - first);
    point(nearest(steps, step));
  });
  drawing.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = "";
  });
  drawing.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    let next = null;
    if (event.key in moves) next = (place === null ? steps.length - 1 : place) + moves[event.key];
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = steps.length - 1;
    if (next === null) return;
    event.preventDefault();
    point(next);
  });
  figure.append(drawing, legend(curves, options.marks), readout, curveTable(options, curves, steps));
  return figure;
}

function legend(curves, marks) {
  const items = curves.map((curve) => {
    const line = svg("line", { x1: 0, x2: 24, y1: 5, y2: 5, "stroke-width": 3, "stroke-dasharray": curve.dash || null });
    line.style.stroke = `var(--series-${curve.color % 8})`;
    return element("li", {}, svg("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" }, line), curve.name);
  });
  if (marks && marks.length > 0) {
    items.push(element("li", {}, svg("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" },
      svg("path", { class: "mark", d: "M8 9h8l-4 -8z" })), "checkpoint"));
  }
  return element("ul", { class: "legend" }, items);
}

/* The values behind a chart, the newest first; made when it is opened. */
function curveTable(options, curves, steps) {
  const details = element("details", { id: options.id + "-table" }, element("summary", {}, "Table of the values"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const rows = steps.slice(-200).reverse().map((step) => element("tr", {}, element("th", { scope: "row", class: "number" }, show.count(step)),
      curves.map((curve) => {
        const at = nearest(curve.steps, step);
        return element("td", { class: "number" }, curve.steps[at] === step ? options.format(curve.values[at]) : "");
      })));
    details.append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": options.title },
      element("table", {},
        element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "number" }, "step"),
          curves.map((curve) => element("th", { scope: "col", class: "number" }, curve.name)))),
        element("tbody", {}, rows))));
  });
  return details;
}

function nearest(sorted, wanted) {
  let low = 0, high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < wanted) low = middle; else high = middle;
  }
  return wanted - sorted[low] <= sorted[high] - wanted ? low : high;
}

/* A drawing shrinks with its column, and its letters with it: on a narrow screen it is drawn narrower instead. */
function drawingWidth(usual) {
  return Math.min(usual, Math.max(320, innerWidth - 52));
}

/* Bars of counts, one for each label. */
function bars(id, title, labels, values, axis) {
  const width = drawingWidth(620), height = 200, left = 56, right = 12, top = 10, bottom = 40;
  const high = Math.max(1, ...values);
  const step = (width - left - right) / values.length;
  const y = (value) => height - bottom - (value / high) * (height - top - bottom);
  const drawing = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": title + ": " + values.map((value, index) => `${labels[index]}: ${show.count(value)}`).join(", "),
  });
  for (const value of ticks(0, high, 4)) {
    drawing.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, show.rate(value)));
  }
  values.forEach((value, index) => {
    const w = Math.max(1, Math.min(48, step * 0.8));
    drawing.append(svg("rect", {
      class: "bar", x: left + step * (index + 0.5) - w / 2, width: w, y: y(value), height: height - bottom - y(value),
    }, svg("title", {}, `${labels[index]}: ${show.count(value)}`)));
    if (values.length <= 16 || index % 8 === 0) {
      drawing.append(svg("text", { x: left + step * (index + 0.5), y: height - bottom + 16, "text-anchor": "middle" }, labels[index]));
    }
  });
  drawing.append(svg("text", { x: width - right, y: height - 4, "text-anchor": "end" }, axis));
  return element("figure", { id }, element("figcaption", {}, title), drawing);
}

/* Events over time, a row for each kind. */
function timeline(id, events) {
  const kinds = [...new Set(events.map((event) => event.kind))];
  const row = 22, width = drawingWidth(1200), left = 90, right = 16, height = kinds.length * row + 34;
  const times = events.map((event) => Date.parse(event.time));
  const low = Math.min(...times), high = Math.max(low + 1000, ...times);
  const x = (time) => left + ((time - low) / (high - low)) * (width - left - right);
  const drawing = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": "Time line of the events in the table below: "
      + kinds.map((kind) => `${kind}: ${events.filter((event) => event.kind === kind).length}`).join(", "),
  });
  kinds.forEach((kind, index) => {
    const y = index * row + row / 2 + 4;
    drawing.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y }),
      svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, kind));
    events.filter((event) => event.kind === kind).forEach((event) => {
      drawing.append(svg("circle", { class: `event ${kind}`, cx: x(Date.parse(event.time)), cy: y, r: 5 },
        svg("title", {}, `${event.message} (${event.time})`)));
    });
  });
  for (const part of width < 700 ? [0, 1] : [0, 0.25, 0.5, 0.75, 1]) {
    const time = new Date(low + part * (high - low));
    const text = time.toISOString().slice(high - low > 864e5 ? 5 : 11, 19).replace("T", " ");
    drawing.append(svg("text", {
      x: x(+time), y: height - 8, "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle",
    }, text + (part === 1 ? " UTC" : "")));
  }
  return element("figure", { id }, drawing);
}

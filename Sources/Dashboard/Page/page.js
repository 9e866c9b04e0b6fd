"use strict";

/* Three views, chosen by the fragment of the address: all runs, one run, a comparison. Each is a stream of events from the
   server, which sends all of what is shown first and then what has changed. */

const main = document.getElementById("main");
const connection = document.getElementById("connection");
let stream = null;
let chosen = new Set();

function go() {
  const hash = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  const parts = hash.split("/").filter((part) => part !== "").map(decodeURIComponent);
  if (stream) stream.close();
  main.replaceChildren();
  const query = new URLSearchParams();
  let view = runsView;
  if (parts[0] === "run" && parts.length > 1) {
    query.set("view", "run");
    query.append("id", parts[1]);
    view = runView;
    document.title = `${parts[1]} – Descent`;
  } else if (parts[0] === "compare" && parts.length > 1) {
    query.set("view", "compare");
    for (const id of parts.slice(1)) query.append("id", id);
    view = compareView;
    document.title = "Comparison – Descent";
  } else {
    query.set("view", "runs");
    document.title = "Runs – Descent";
  }
  follow(query, view(parts.slice(1)));
}

function follow(query, receive) {
  say("connecting …", false);
  stream = new EventSource("/events?" + query);
  const own = stream;
  own.onmessage = (message) => {
    if (own !== stream) return;
    say("live", false);
    receive(JSON.parse(message.data));
  };
  own.onerror = () => {
    if (own !== stream) return;
    if (own.readyState !== EventSource.CLOSED) return say("the connection is lost; trying again …", true);
    say("the server does not know this run, or has too many readers", true);
    if (main.children.length === 0) {
      main.append(element("p", {}, "There is no such run. ", element("a", { href: "#/" }, "All runs")));
    }
  };
}

function say(text, isLost) {
  if (connection.textContent !== text) connection.textContent = text;
  connection.classList.toggle("lost", isLost);
}

/* Puts nodes into a container in the place of its own, unless the data are those of before. What a reader has opened, scrolled
   or focused stays so. */
function put(container, data, make) {
  const key = JSON.stringify(data);
  if (container.made === key) return;
  container.made = key;
  const open = new Set([...container.querySelectorAll("details[open]")].map((node) => node.id));
  const scrolled = new Map([...container.querySelectorAll(".scroll")].map((node, index) => [index, [node.scrollLeft, node.scrollTop]]));
  const focused = container.contains(document.activeElement) ? document.activeElement : null;
  const path = focused ? selector(focused) : null;
  container.replaceChildren(...[make()].flat());
  for (const node of container.querySelectorAll("details")) if (open.has(node.id)) node.open = true;
  [...container.querySelectorAll(".scroll")].forEach((node, index) => {
    if (scrolled.has(index)) [node.scrollLeft, node.scrollTop] = scrolled.get(index);
  });
  if (path) container.querySelector(path)?.focus({ preventScroll: true });
}

function selector(node) {
  if (node.id) return "#" + CSS.escape(node.id);
  const owner = node.closest("[id]");
  return owner ? `#${CSS.escape(owner.id)} ${node.localName}` : node.localName;
}

const ago = (time) => (time ? show.duration((Date.now() - Date.parse(time)) / 1000) + " ago" : "–");
const address = (id) => "#/run/" + encodeURIComponent(id);
const plain = (value) => (value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

function stateOf(run) {
  return element("span", { class: "state " + run.state, title: run.reason || run.problem || null }, run.state);
}

/* Ages grow without news. */
setInterval(() => {
  for (const node of document.querySelectorAll("[data-time]")) {
    const text = ago(node.dataset.time);
    if (node.textContent !== text) node.textContent = text;
  }
}, 1000);

/* --- All runs --- */

function runsView() {
  const runs = new Map();
  const compare = element("button", { type: "button", disabled: true, onclick: () => {
    location.hash = "#/compare/" + [...chosen].map(encodeURIComponent).join("/");
  } }, "Compare the chosen runs");
  const count = element("p", { class: "muted" });
  const table = element("div", { class: "scroll" });
  main.append(element("h2", {}, "Runs"), element("div", { class: "controls" }, compare, count), table);
  function choose() {
    compare.disabled = chosen.size < 2;
  }
  return (message) => {
    if (message.complete) runs.clear();
    for (const run of message.runs) runs.set(run.id, run);
    document.getElementById("version").textContent = "descent " + message.version;
    chosen = new Set([...chosen].filter((id) => runs.has(id)));
    choose();
    const live = [...runs.values()].filter((run) => run.state === "running").length;
    count.textContent = runs.size === 1 ? `1 run, ${live} running` : `${runs.size} runs, ${live} running`;
    put(table, [...runs.values()], () => (runs.size === 0
      ? element("p", {}, "There is no run yet. This page shows the first one as soon as ", element("code", {}, "descent train"), " has begun it.")
      : runsTable([...runs.values()].sort((a, b) => (b.started ?? "").localeCompare(a.started ?? "")), choose)));
  };
}

function runsTable(runs, choose) {
  const heads = ["compare", "run", "state", "step", "accuracy", "data loss", "test", "images/s", "workers", "started", "written"];
  const rows = runs.map((run) => {
    const box = element("input", { type: "checkbox", id: "choose-" + run.id, "aria-label": "compare " + run.id, onchange: () => {
      if (box.checked) chosen.add(run.id); else chosen.delete(run.id);
      choose();
    } });
    box.checked = chosen.has(run.id);
    const cell = (label, content, isNumber = true) => element("td", { class: isNumber ? "number" : null, "data-label": label }, content);
    return element("tr", {},
      cell("compare", box, false),
      element("th", { scope: "row" }, element("a", { href: address(run.id), id: "open-" + run.id }, run.id),
        element("div", { class: "note" }, [run.model, run.loss].filter((part) => part).join(", "))),
      cell("state", stateOf(run), false),
      cell("step", show.count(run.step)),
      cell("validation accuracy", show.percent(run.validation_accuracy)),
      cell("validation data loss", show.number(run.validation_data_loss)),
      cell("test accuracy", show.percent(run.test_accuracy)),
      cell("images/s", show.rate(run.images_per_second)),
      cell("workers", show.count(run.workers)),
      cell("started", element("span", { "data-time": run.started }, ago(run.started)), false),
      cell("written", element("span", { "data-time": run.written }, ago(run.written)), false));
  });
  return element("table", { class: "wide runs" },
    element("caption", { class: "note" }, "Accuracy and data loss are those of the validation examples."),
    element("thead", {}, element("tr", {}, heads.map((head, index) => element("th", { scope: "col", class: index > 2 && index < 9 ? "number" : null }, head)))),
    element("tbody", {}, rows));
}

/* --- One run --- */

function curve(run, name, label, color, dash) {
  const series = run.series[name];
  return { name: label, color, dash, steps: series.steps, values: series.values };
}

function section(title, id) {
  const body = element("div", { id });
  const node = element("section", { "aria-labelledby": id + "-head" }, element("h3", { id: id + "-head" }, title), body);
  node.hidden = true;
  return { node, body, show: (data, make) => {
    node.hidden = false;
    put(body, data, make);
  } };
}

function runView([id]) {
  const heading = element("h2", {}, id);
  const facts = element("div", { id: "facts" });
  const curves = section("Learning curves", "curves");
  const templates = section("Weight templates", "templates");
  const confusion = section("Confusion matrix", "confusion");
  const workers = section("Workers", "workers");
  const events = section("Events", "events");
  const settings = section("Settings", "settings");
  const tiles = templateTiles(id, templates);
  main.append(heading, facts, ...[curves, templates, confusion, workers, events, settings].map((part) => part.node));
  return ({ run }) => {
    if (run === null) {
      main.replaceChildren(element("p", {}, `The run ${id} is no longer there. `, element("a", { href: "#/" }, "All runs")));
      return;
    }
    const { series, events: log, settings: values, workers_record, ...rest } = run;
    put(facts, rest, () => factsOf(run));
    curves.show([series, run.checkpoints, run.best], () => element("div", { class: "charts" }, runCharts(run)));
    tiles(run);
    if (run.confusion) confusion.show(run.confusion, () => confusionTable(run.confusion));
    if (workers_record || run.staleness.length > 0) workers.show([workers_record, run.staleness, run.slowest_worker], () => workersPart(run));
    if (log.length > 0) events.show(log, () => eventsPart(log));
    if (values.length > 0) settings.show([values, run.versions], () => settingsPart(run));
  };
}

function factsOf(run) {
  const pairs = [
    ["state", stateOf(run)], ["step", show.count(run.step)], ["epoch", show.number(run.epoch)],
    ["validation accuracy", show.percent(run.validation_accuracy)], ["validation data loss", show.number(run.validation_data_loss)],
    ["test accuracy", show.percent(run.test_accuracy)], ["images/s", show.rate(run.images_per_second)],
    ["training time", show.duration(run.seconds)], ["workers", show.count(run.workers)],
    ["restarts", show.count(run.restarts)], ["last written", element("span", { "data-time": run.written }, ago(run.written))],
  ];
  const sentence = run.reason || run.problem;
  return [
    element("p", { class: "muted" }, `${run.model}, ${plain(run.loss)} – ${run.directory}`),
    sentence ? element("p", {}, sentence) : "",
    element("dl", { class: "facts" }, pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
  ];
}

function runCharts(run) {
  const marks = { marks: run.checkpoints, best: run.best };
  return [
    chart({ id: "chart-loss", title: "Data loss", format: show.number, ...marks,
      curves: [curve(run, "train_data_loss", "training", 0, "5 3"), curve(run, "validation_data_loss", "validation", 1)] }),
    chart({ id: "chart-accuracy", title: "Accuracy", format: show.percent, ...marks,
      curves: [curve(run, "train_accuracy", "training", 0, "5 3"), curve(run, "validation_accuracy", "validation", 1)] }),
    chart({ id: "chart-rate", title: "Throughput, images a second", format: show.rate, fromZero: true,
      curves: [curve(run, "images_per_second", "images/s", 2)] }),
    chart({ id: "chart-gradient", title: "Gradient norm", format: show.number, curves: [curve(run, "gradient_norm", "norm", 3)] }),
  ];
}

/* The slider stays where a reader puts it, and follows the newest checkpoint where it stands at that. */
function templateTiles(id, part) {
  const slider = element("input", { type: "range", min: 0, id: "checkpoint", "aria-describedby": "templates-note" });
  const label = element("output", { for: "checkpoint" });
  const note = element("p", { class: "note", id: "templates-note" });
  const list = element("ul", { class: "tiles", "aria-label": "Templates" });
  let steps = [], shown = null, isAsked = false;
  slider.addEventListener("input", ask);
  function chosenStep() { return steps[Number(slider.value)]; }
  async function ask() {
    const step = chosenStep();
    if (step === undefined) return;
    label.textContent = `checkpoint of step ${show.count(step)}`;
    slider.setAttribute("aria-valuetext", label.textContent);
    if (isAsked || step === shown) return;
    isAsked = true;
    try {
      const query = new URLSearchParams({ id, step });
      const answer = await fetch("/api/templates?" + query);
      if (answer.ok) draw(await answer.json(), "/templates.png?" + query);
      shown = step;
    } catch {
      /* The stream of events says that the connection is lost. */
    }
    isAsked = false;
    if (chosenStep() !== step) ask();
  }
  function draw(found, image) {
    note.textContent = `Of each template grey is 0, and white and black are plus and minus its largest weight (${found.model}`
      + (found.tiles.length < found.rows ? `, the ${found.tiles.length} of ${found.rows} with the largest norms` : "") + ").";
    list.replaceChildren(...found.tiles.map((tile, index) => {
      const picture = element("div", { class: "tile", role: "img", "aria-label": `template of ${tile.name}` });
      const last = Math.max(1, found.tiles.length - 1);
      picture.style.backgroundImage = `url("${image}")`;
      picture.style.backgroundSize = `${found.tiles.length * 100}% 100%`;
      picture.style.backgroundPosition = `${(index / last) * 100}% 0`;
      picture.style.aspectRatio = `${found.width} / ${found.height}`;
      return element("li", {}, picture, element("b", {}, tile.name), `bias ${show.number(tile.bias)}, white ${show.number(tile.white)}`);
    }));
  }
  return (run) => {
    if (run.checkpoints.length === 0) return;
    const follows = steps.length === 0 || Number(slider.value) === steps.length - 1;
    const kept = chosenStep();
    steps = run.checkpoints;
    slider.max = steps.length - 1;
    const place = steps.indexOf(kept);
    slider.value = follows || place < 0 ? steps.length - 1 : place;
    slider.disabled = steps.length < 2;
    part.show("tiles", () => [element("div", { class: "controls" }, element("label", { for: "checkpoint" }, "Checkpoint"), slider, label), list, note]);
    ask();
  };
}

function confusionTable(found) {
  const total = (row) => row.reduce((sum, n) => sum + n, 0);
  const rows = found.counts.map((row, actual) => element("tr", {}, element("th", { scope: "row" }, found.classes[actual]),
    row.map((n) => {
      const share = n / Math.max(1, total(row));
      const cell = element("td", { title: `${show.percent(share)} of ${found.classes[actual]}` }, show.count(n));
      cell.style.backgroundColor = `rgba(var(--heat), ${(share * 0.75).toFixed(3)})`;
      return cell;
    })));
  return [
    element("p", { class: "note" }, `Validation examples at step ${show.count(found.step)}: a row for each class, a column for what it is taken for.`),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" }, element("table", { class: "confusion" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "class"), found.classes.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, rows))),
  ];
}

function workersPart(run) {
  const record = run.workers_record;
  const parts = [];
  if (run.slowest_worker) parts.push(element("p", {}, `The steps waited for ${run.slowest_worker}.`));
  if (record && record.members.length > 0) {
    const heads = ["worker", "shards", "answers", "median step", "99th percentile", "awaited", "last in", "member for"];
    const rows = record.members.map((member) => element("tr", {}, element("th", { scope: "row" }, member.name),
      element("td", {}, member.shards === null ? "–" : member.shards === "" ? "none" : member.shards),
      [show.count(member.answers), show.milliseconds(member.median_seconds), show.milliseconds(member.p99_seconds),
        show.percent(member.share_awaited), member.answers > 0 ? show.percent(member.times_last / member.answers) : "–",
        show.duration(member.member_seconds)].map((text) => element("td", { class: "number" }, text))));
    parts.push(element("p", { class: "note" }, `As of step ${show.count(record.step)}. Awaited is the share of time in which steps waited for this worker alone.`),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Workers" }, element("table", { class: "wide" },
        element("thead", {}, element("tr", {}, heads.map((head, index) => element("th", { scope: "col", class: index > 1 ? "number" : null }, head)))),
        element("tbody", {}, rows))));
  }
  if (record) {
    parts.push(element("p", { class: "note" }, `${show.count(record.taken_over_shards)} shards taken over from late workers, `
      + `${show.count(record.late_shards)} late results dropped, ${show.count(record.rejected_pushes)} gradients rejected.`));
  }
  if (run.staleness.length > 0) {
    parts.push(bars("staleness", "Staleness of the gradients", run.staleness.map((_, age) => (age === 64 ? "64+" : String(age))), run.staleness, "steps old"));
  }
  return parts;
}

function eventsPart(log) {
  /* Checkpoints in a row are one line, so that what is rare is seen. */
  const lines = [];
  for (const event of log) {
    const last = lines.at(-1);
    if (event.kind === "saved" && last?.event.kind === "saved") last.more += 1; else lines.push({ event, more: 0 });
  }
  const rows = lines.map(({ event, more }) => element("tr", {},
    element("td", {}, element("time", { datetime: event.time }, event.time.slice(0, 19).replace("T", " "))),
    element("td", { class: "number" }, show.count(event.step)),
    element("td", { class: "kind " + event.kind }, event.kind),
    element("td", { class: "text" }, event.message + (more > 0 ? `; before it ${more} more` : ""))));
  return [
    timeline("timeline", log),
    element("div", { class: "scroll", id: "log", tabindex: "0", role: "region", "aria-label": "Events" }, element("table", { class: "wide" },
      element("thead", {}, element("tr", {}, ["time (UTC)", "step", "kind", "what happened"].map((head, index) =>
        element("th", { scope: "col", class: index === 1 ? "number" : null }, head)))),
      element("tbody", {}, rows))),
  ];
}

function settingsPart(run) {
  const rows = run.settings.map((setting) => element("tr", { class: setting.origin === "default" ? "same" : null },
    element("th", { scope: "row" }, setting.name), element("td", { class: "text" }, plain(setting.value)), element("td", {}, plain(setting.origin))));
  const facts = Object.entries(run.versions || {}).filter(([name]) => name !== "command").map(([name, value]) => `${name} ${plain(value)}`);
  return [
    element("p", { class: "note" }, facts.join(", ")),
    run.versions && run.versions.command ? element("p", {}, element("code", {}, run.versions.command)) : "",
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Settings" }, element("table", {},
      element("thead", {}, element("tr", {}, ["setting", "value", "origin"].map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, rows))),
  ];
}

/* --- A comparison --- */

function compareView() {
  const body = element("div", { id: "comparison" });
  main.append(element("h2", {}, "Comparison"), body);
  return ({ runs }) => put(body, runs, () => comparison(runs));
}

function comparison(runs) {
  const overlay = (id, title, name, format) => chart({ id, title, format,
    curves: runs.map((run, index) => curve(run, name, run.id, index, index >= 8 ? "5 3" : null)) });
  const names = [...new Set(runs.flatMap((run) => run.settings.map((setting) => setting.name)))];
  const value = (run, name) => plain(run.settings.find((setting) => setting.name === name)?.value ?? null);
  const differing = names.filter((name) => name !== "run-dir" && new Set(runs.map((run) => value(run, name))).size > 1);
  const results = [
    ["state", (run) => stateOf(run)], ["step", (run) => show.count(run.step)],
    ["validation accuracy", (run) => show.percent(run.validation_accuracy)],
    ["validation data loss", (run) => show.number(run.validation_data_loss)],
    ["test accuracy", (run) => show.percent(run.test_accuracy)], ["images/s", (run) => show.rate(run.images_per_second)],
    ["training time", (run) => show.duration(run.seconds)],
  ];
  const table = (label, rows) => element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, element("table", {},
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, ""), runs.map((run) => element("th", { scope: "col" }, element("a", { href: address(run.id) }, run.id))))),
    element("tbody", {}, rows)));
  return [
    element("div", { class: "charts" },
      overlay("compare-loss", "Validation data loss", "validation_data_loss", show.number),
      overlay("compare-accuracy", "Validation accuracy", "validation_accuracy", show.percent),
      overlay("compare-train", "Training data loss", "train_data_loss", show.number),
      overlay("compare-rate", "Throughput, images a second", "images_per_second", show.rate)),
    element("h3", {}, "Results"),
    table("Results", results.map(([name, make]) => element("tr", {}, element("th", { scope: "row" }, name), runs.map((run) => element("td", {}, make(run)))))),
    element("h3", {}, "Settings that differ"),
    differing.length === 0 ? element("p", {}, "None.")
      : table("Settings that differ", differing.map((name) => element("tr", {}, element("th", { scope: "row" }, name), runs.map((run) => element("td", { class: "text" }, value(run, name)))))),
  ];
}

addEventListener("hashchange", () => {
  // Not the way to the content that a keyboard takes.
  if (!location.hash.startsWith("#/") && location.hash !== "") return;
  go();
  main.focus();
});
// Charts have another width then.
matchMedia("(max-width: 700px)").addEventListener("change", go);
go();

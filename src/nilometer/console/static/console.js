// What a page cannot do without a script: receive events, draw lines, move a slider. Everything else works without it.
"use strict";

const csrf = () => document.querySelector("meta[name=csrf]").content;

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = csrf();
});
// A refusal is shown where the answer would have been.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status >= 400) event.detail.shouldSwap = true;
});
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-autosubmit]");
  if (form) form.requestSubmit();
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; });
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing) {
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
  }
  if ((event.key === "j" || event.key === "k") && !typing && !event.metaKey && !event.ctrlKey) {
    const rows = [...document.querySelectorAll(".event > a")];
    const at = rows.indexOf(document.activeElement);
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + (event.key === "j" ? 1 : -1)))];
    if (next) next.focus();
  }
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey) && event.target.form) event.target.form.requestSubmit();
});

function listen(list) {
  const state = document.querySelector(".live");
  const source = new EventSource(list.dataset.stream);
  const say = (what, text) => { if (state) { state.dataset.state = what; state.textContent = text; } };
  source.onopen = () => say("live", "live");
  // An answer that ends is no fault where the browser asks again and again.
  source.onerror = () => { if (!("polls" in list.dataset)) say("lost", "connection lost, trying again"); };
  const show = (rows) => {
    const made = document.createElement("template");
    made.innerHTML = rows;
    for (const row of [...made.content.querySelectorAll("li")]) {
      const known = document.getElementById(row.id);
      if (known) { const focused = known.contains(document.activeElement); known.replaceWith(row); if (focused) row.querySelector("a").focus(); }
      else { row.classList.add("fresh"); list.prepend(row); }
    }
    while (list.children.length > 200) list.lastElementChild.remove();
    const empty = document.getElementById("nothing");
    if (empty && list.children.length) empty.hidden = true;
  };
  // A row that moves or is replaced between press and release would lose the click: rows wait until after it.
  const held = [];
  let pressed = false;
  source.addEventListener("rows", (event) => { if (pressed) held.push(event.data); else show(event.data); });
  list.addEventListener("pointerdown", () => { pressed = true; });
  const release = () => setTimeout(() => { pressed = false; held.splice(0).forEach(show); });
  for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, release);
  window.addEventListener("pagehide", () => source.close());
}

function draw(place) {
  const told = JSON.parse(place.querySelector("template").content.textContent);
  const colour = (name) => getComputedStyle(place).getPropertyValue(name);
  const probe = document.createElement("span");
  place.append(probe);
  const real = (name) => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
  const lines = [real("--accent"), real("--warn"), real("--good"), real("--bad"), real("--muted"), real("--text")];
  const axis = { stroke: real("--muted"), grid: { stroke: real("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  probe.remove();
  const holder = document.createElement("div");
  place.append(holder);
  const said = (seconds, options) => new Date(seconds * 1e3).toLocaleString("en-GB", { timeZone: "UTC", ...options });
  const when = (_, marks, __, ___, step) => marks.map((mark) => said(mark, step < 86400 ? { hour: "2-digit", minute: "2-digit" } : { day: "numeric", month: "short" }));
  place.classList.toggle("single", told.names.length === 1);
  const bars = told.bars ? uPlot.paths.bars({ size: [0.7, 48], radius: 0.15 }) : undefined;
  const plot = new uPlot({
    width: holder.clientWidth || 600,
    legend: { show: told.names.length > 1 || !told.bars },
    height: 220,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
    scales: { x: { time: told.time !== false, range: (_, from, to) => (told.bars && told.time !== false ? [from - 43200, to + 43200] : [from, to]) } },
    axes: [told.time === false ? axis : { ...axis, values: when }, { ...axis, size: 64, values: (_, values) => values.map((value) => value.toLocaleString("en")) }],
    series: [
      {},
      ...told.names.map((label, index) => ({
        label, width: 2, stroke: lines[index % lines.length], paths: bars, points: { show: !told.bars && told.data[0].length < 40 },
        fill: told.bars ? lines[index % lines.length] : undefined,
      })),
    ],
  }, told.data, holder);
  new ResizeObserver(() => plot.setSize({ width: holder.clientWidth, height: 220 })).observe(holder);
}

// What htmx loaded may be a chart itself.
const within = (root, selector) => [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];

function start(root) {
  within(root, "[data-stream]").forEach(listen);
  within(root, ".chart").forEach(draw);
}
document.addEventListener("DOMContentLoaded", () => start(document));
document.addEventListener("htmx:load", (event) => { if (event.target !== document.body) start(event.target); });

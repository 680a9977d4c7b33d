// Ticks the times, filters and sorts the jobs, and swaps in what changed. Without it the pages still read well.
"use strict";

const EVERY = 5000; // milliseconds between refreshes; none while nobody looks
const LATE = EVERY / 1000 + 2; // seconds after its instant from which on a job is overdue: the page may be that old
const PATIENCE = 10000; // milliseconds for a refresh before it counts as failed
const TROUBLE = { failing: 0, down: 1, running: 2, cancelled: 3, new: 4, paused: 5, well: 6, disabled: 7 };

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---- times: the server's clock counts, whatever this one says

let ahead = 0; // seconds that this clock is ahead of the server's

function setClock(main) {
  ahead = Date.now() / 1000 - Number(main.dataset.now);
}

function span(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function say(time, now) {
  const { next, ago } = time.dataset;
  let words;
  if (next === undefined) {
    const past = now - Number(ago);
    words = past < 1 ? "just now" : `${span(past)} ago`;
  } else {
    const left = Number(next) - now;
    words = left > 0 ? `in ${span(Math.ceil(left))}` : left > -LATE ? "now" : `${span(-left)} overdue`;
    time.classList.toggle("over", left <= -LATE);
  }
  if (time.textContent !== words) time.textContent = words;
}

function tick() {
  const now = Date.now() / 1000 - ahead;
  for (const time of all("time")) if (time.closest("[hidden]") === null) say(time, now);
}

// ---- filter and sort: kept in the address, so that a view can be shared

const ORDER = {
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, "en", { numeric: true }),
  trouble: (a, b) => TROUBLE[a.dataset.mood] - TROUBLE[b.dataset.mood] || b.dataset.failures - a.dataset.failures || ORDER.name(a, b),
  next: (a, b) => (Number(a.dataset.next) || Infinity) - (Number(b.dataset.next) || Infinity) || ORDER.name(a, b),
  last: (a, b) => b.dataset.last - a.dataset.last || ORDER.name(a, b),
};

function wanted() {
  return { q: find("#filter").value.trim().toLowerCase(), state: find("#mood").value, sort: find("#sort").value };
}

function arrange() {
  const body = find("#jobs");
  if (!body) return;
  const { q, state, sort } = wanted();
  const rows = [...body.children];
  const sorted = [...rows].sort(ORDER[sort] ?? ORDER.name);
  if (sorted.some((row, place) => row !== rows[place])) body.append(...sorted);
  let shown = 0;
  for (const row of rows) {
    const fits = (!state || row.dataset.mood === state) && (!q || row.textContent.toLowerCase().includes(q) || row.dataset.name.includes(q));
    row.hidden = !fits;
    shown += fits;
  }
  find("#shown").textContent = q || state ? `${shown} of ${rows.length}` : "";
}

function remember() {
  const address = new URL(location);
  for (const [key, value] of Object.entries(wanted())) {
    if (value && !(key === "sort" && value === "name")) address.searchParams.set(key, value);
    else address.searchParams.delete(key);
  }
  history.replaceState(null, "", address);
  arrange();
  tick();
}

function setUpTools() {
  const asked = new URLSearchParams(location.search);
  find("#filter").value = asked.get("q") ?? "";
  find("#mood").value = asked.get("state") ?? "";
  find("#sort").value = asked.get("sort") ?? "name";
  for (const tool of all("#filter, #mood, #sort")) tool.addEventListener("input", remember);
}

// ---- refresh: fetch the page anew and swap the parts and rows that differ from what the server sent last

let sent = new Map(); // key of a part -> its HTML as the server sent it

function parts(main) {
  const found = new Map();
  for (const child of main.children) {
    if ("keep" in child.dataset) continue;
    if (child.matches("table.jobs")) for (const row of all("tbody > tr", child)) found.set(`row ${row.dataset.name}`, row);
    else found.set(`part ${[...main.children].indexOf(child)} ${child.tagName}`, child);
  }
  return found;
}

const written = (main) => new Map([...parts(main)].map(([key, node]) => [key, node.outerHTML]));

function swap(fresh) {
  const main = find("#live");
  const [old, now, text] = [parts(main), parts(fresh), written(fresh)];
  const shape = (found) => [...found.keys()].filter((key) => key.startsWith("part ")).join();
  setClock(fresh);
  if (shape(old) !== shape(now)) {
    const tools = find("[data-keep]", main);
    const place = find("[data-keep]", fresh);
    if (tools && place) place.replaceWith(tools);
    main.replaceChildren(...fresh.childNodes);
  } else {
    for (const [key, node] of now) {
      if (text.get(key) === sent.get(key) && old.has(key)) continue;
      if (node.matches("details") && old.get(key)?.open) node.open = true;
      if (old.has(key)) old.get(key).replaceWith(node);
      else find("#jobs").append(node);
    }
    for (const [key, node] of old) if (!now.has(key)) node.remove();
  }
  main.dataset.now = fresh.dataset.now;
  sent = text;
  arrange();
  tick();
}

async function refresh() {
  const lost = find("#lost");
  try {
    // the origin said outright: a path alone would take over a password of the address, which fetch refuses
    const reply = await fetch(location.origin + location.pathname, { signal: AbortSignal.timeout(PATIENCE), headers: { Accept: "text/html" }, cache: "no-store" });
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    document.title = page.title;
    swap(find("#live", page));
    lost.hidden = true;
  } catch {
    if (lost.hidden) lost.textContent = `Tocsin does not answer since ${new Date().toLocaleTimeString()}; what stands here is from before.`;
    lost.hidden = false;
  }
}

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, EVERY);
}

document.documentElement.classList.add("live");
const main = find("#live");
setClock(main);
sent = written(main);
if (find("#filter")) setUpTools();
arrange();
tick();
setInterval(tick, 1000);
setTimeout(keepFresh, EVERY);
document.addEventListener("visibilitychange", () => document.hidden || refresh());

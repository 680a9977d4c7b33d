// Ticks the times, asks anew when a filter changes, and swaps in what changed. Without it the pages still read well.
"use strict";

const EVERY = 5000; // milliseconds between refreshes; none while nobody looks
const LATE = EVERY / 1000 + 2; // seconds after its instant from which on a job is overdue: the page may be that old
const PATIENCE = 10000; // milliseconds for a refresh before it counts as failed
const TYPING = 200; // milliseconds after a key until a filter is asked for: one question for a word, not one for each letter

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
  const kind = ["next", "for", "ago"].find((one) => one in time.dataset);
  const past = now - Number(time.dataset[kind]);
  let words = past < 1 ? "just now" : `${span(past)} ago`;
  if (kind === "for") words = `for ${span(Math.max(0, past))}`;
  if (kind === "next") {
    words = past < 0 ? `in ${span(Math.ceil(-past))}` : past < LATE ? "now" : `was due ${span(past)} ago`;
    time.classList.toggle("over", past >= LATE);
  }
  if (time.textContent !== words) time.textContent = words;
}

const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const local = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" }); // as the server writes it

// the reader's own time: in each tooltip, and in words where a page has a place for it
function localise(root) {
  if (["UTC", "Etc/UTC", undefined].includes(HERE)) return;
  for (const time of all("time", root)) {
    const seconds = time.dataset.next ?? time.dataset.for ?? time.dataset.ago;
    time.title = `${time.title.split("\n")[0]}\n${local.format(Number(seconds) * 1000)} ${HERE}`;
  }
  for (const place of all("[data-local]", root)) {
    if (place.dataset.zone === HERE) continue;
    place.textContent = `${local.format(Number(place.dataset.local) * 1000)} ${HERE}`;
    place.hidden = false;
  }
}

function tick() {
  const now = Date.now() / 1000 - ahead;
  for (const time of all("time")) if (time.closest("[hidden]") === null) say(time, now);
}

// ---- filter and sort: the server does both, by what stands in the address

function setUpTools() {
  const form = find("form.tools");
  let typing;
  const ask = () => {
    const said = new URLSearchParams([...new FormData(form)].filter(([key, value]) => value && !(key === "sort" && value === "trouble")));
    history.replaceState(null, "", String(said) ? `?${said}` : location.pathname);
    refresh();
  };
  form.addEventListener("submit", (event) => event.preventDefault() || ask());
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(ask, TYPING);
  });
}

// ---- refresh: ask for what is new, and swap the parts and rows that differ from what the server sent last

let sent = new Map(); // key of a part -> its HTML as the server sent it
let had = { address: "", tag: "" }; // what stands here, and where it is from

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

function inOrder(body, names) {
  const rows = new Map([...body.children].map((row) => [row.dataset.name, row]));
  if ([...rows.keys()].join() !== names.join()) body.append(...names.map((name) => rows.get(name)));
}

// Of the table there may be only the rows that changed: fills in the others. False if one of them is not here.
function complete(main, fresh) {
  const [body, mine] = [find("#jobs", fresh), find("#jobs", main)];
  if (!body) return true;
  const rows = new Map([...(mine?.children ?? [])].map((row) => [row.dataset.name, row]));
  if ("same" in body.dataset) {
    const changed = new Map([...body.children].map((row) => [row.dataset.name, row]));
    delete body.dataset.same;
    body.replaceChildren(...[...rows.keys()].map((name) => changed.get(name) ?? blank(name)));
  }
  return [...body.children].every((row) => !("same" in row.dataset) || rows.has(row.dataset.name));
}

function blank(name) {
  const row = document.createElement("tr");
  Object.assign(row.dataset, { name, same: "" });
  return row;
}

function swap(fresh) {
  const main = find("#live");
  const link = document.activeElement?.getAttribute("href"); // to be found again where its part is swapped
  const [old, now, text] = [parts(main), parts(fresh), written(fresh)];
  for (const [key, node] of now) if ("same" in node.dataset) text.set(key, sent.get(key));
  const shape = (found) => [...found.keys()].filter((key) => key.startsWith("part ")).join();
  setClock(fresh);
  const [shown, count] = [find("#shown", main), find("#shown", fresh)];
  if (shown && count && shown.textContent !== count.textContent) shown.textContent = count.textContent;
  if (shape(old) !== shape(now)) {
    const tools = find("[data-keep]", main);
    const focus = tools?.contains(document.activeElement) ? document.activeElement : null;
    const place = find("[data-keep]", fresh);
    if (tools && place) place.replaceWith(tools);
    for (const [key, node] of now) if ("same" in node.dataset) node.replaceWith(old.get(key));
    main.replaceChildren(...fresh.childNodes);
    focus?.focus();
    localise(main);
  } else {
    const names = [...all("#jobs > tr", fresh)].map((row) => row.dataset.name); // before they move
    for (const [key, node] of old) if (!now.has(key)) node.remove();
    for (const [key, node] of now) {
      if (text.get(key) === sent.get(key) && old.has(key)) continue;
      if (node.matches("details") && old.get(key)?.open) node.open = true;
      localise(node);
      if (old.has(key)) old.get(key).replaceWith(node);
      else find("#jobs").append(node);
    }
    if (names.length) inOrder(find("#jobs"), names);
  }
  if (link && document.activeElement === document.body) find(`a[href="${CSS.escape(link)}"]`, main)?.focus();
  main.dataset.now = fresh.dataset.now;
  sent = text;
  tick();
}

// the origin said outright: a path alone would take over a password of the address, which fetch refuses
const here = () => location.origin + location.pathname + location.search;

let asked = 0; // questions so far: the answer to an older one is no news

async function refresh() {
  const lost = find("#lost");
  const turn = ++asked;
  try {
    const address = here();
    const headers = { Accept: "text/html" };
    if (had.address === address && had.tag) Object.assign(headers, { "If-None-Match": had.tag, "Tocsin-Parts": "1" });
    const reply = await fetch(address, { signal: AbortSignal.timeout(PATIENCE), headers, cache: "no-store" });
    const html = await reply.text();
    if (turn !== asked) return;
    lost.hidden = true;
    if (reply.status === 304) return;
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = find("#live", page);
    had = { address, tag: reply.headers.get("ETag") };
    if (!complete(find("#live"), fresh)) {
      had.tag = "";
      return void (await refresh());
    }
    document.title = page.title;
    swap(fresh);
  } catch {
    if (turn !== asked) return;
    if (lost.hidden) lost.textContent = `Tocsin does not answer since ${new Date().toLocaleTimeString()}; what stands here is from before.`;
    lost.hidden = false;
  }
}

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, EVERY);
}

document.documentElement.classList.add("live");
if (new URLSearchParams(location.search).has("did")) history.replaceState(null, "", location.pathname); // said once
const main = find("#live");
setClock(main);
sent = written(main);
had = { address: here(), tag: main.dataset.tag };
if (find("form.tools")) setUpTools();
localise(main);
tick();
setInterval(tick, 1000);
setTimeout(keepFresh, EVERY);
document.addEventListener("visibilitychange", () => document.hidden || refresh());

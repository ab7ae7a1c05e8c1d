// Shows what the device sends: how it is, what it hears, what it has found. It sends nothing but the name of a source.

import { colour, draw } from "./chart.js";

const SPAN = 60_000, SILENT = 10_000, CURRENT = 15_000, MOST_EVENTS = 100, HOUR = 3_600_000;
const $ = (id) => document.getElementById(id);

let stream = null;
let source = "";          // which is chosen; empty: the first
let triedAt = 0;          // when a connection was last begun, by performance.now()
let told = null;          // the last status
let toldAt = -Infinity;   // when it came
let sound = [], marks = [], events = [], breathing = null;   // marks: the shown source's events of the last minute
let isListed = false;     // whether the table shows the events as they are

function connect() {
  stream?.close();
  triedAt = performance.now();
  stream = new EventSource(source ? `stream?source=${encodeURIComponent(source)}` : "stream");
  // What the device remembers comes anew with each connection.
  stream.onopen = () => { sound = []; marks = []; events = []; breathing = null; isListed = false; };
  // The browser itself tries again, unless it was answered with an error: the source may not be there any more.
  stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) source = ""; };
  const on = (kind, take) => stream.addEventListener(kind, (message) => take(JSON.parse(message.data)));
  on("status", takeStatus);
  on("sound", takeSound);
  on("event", takeEvent);
  on("respiration", (payload) => { breathing = payload; });
}

function takeStatus(status) {
  told = status;
  toldAt = performance.now();
  document.title = `${status.device} · acula-edge`;
  $("device").textContent = `${status.site} / ${status.device}`;
  $("about").textContent = `bundle ${status.status.bundle}, acula-edge ${status.status.version}`;
  showSources(status.sources);
  showHours();
  showFacts();
  showState();
}

function takeSound(message) {
  const start = Date.parse(message.start);
  sound.push({ start, end: start + message.duration_s * 1000, step: message.step_s * 1000, scores: message.scores });
  const oldest = start - SPAN;
  sound = sound.filter((piece) => piece.end > oldest && piece.start <= start);
  marks = marks.filter((mark) => mark.offset > oldest && mark.onset <= sound.at(-1).end);
  if (message.level_dbfs === null) return;
  $("meter").value = message.level_dbfs;
  $("level").textContent = `${message.level_dbfs.toFixed(0)} dBFS${message.clipped > 0 ? ", clipped" : ""}`;
}

function takeEvent(event) {
  events.unshift(event);
  events.length = Math.min(events.length, MOST_EVENTS);
  isListed = false;
  if (event.source !== shownSource()) return;
  marks.push({ label: event.label, onset: Date.parse(event.onset), offset: Date.parse(event.offset) });
}

function shownSource() {
  return source || told?.sources[0].name;
}

// The device's time now, in ms; at least that of the newest sound, since a file can be heard faster than it lasts.
function deviceNow() {
  const now = told ? Date.parse(told.now) + performance.now() - toldAt : Date.now();
  return Math.max(now, sound.at(-1)?.end ?? 0);
}

function isReachable() {
  return told !== null && performance.now() - toldAt < SILENT;
}

function showState() {
  const state = isReachable() ? told.status.state : "unreachable";
  const reason = isReachable() ? told.status.reason : told && "The device does not answer; what is below is from before.";
  set($("state"), state === "unreachable" ? (told ? "not reachable" : "connecting") : state);
  $("state").dataset.state = state;
  set($("reason"), reason || "");
  $("reason").hidden = !reason;
}

function showSources(sources) {
  const select = $("source"), names = sources.map((one) => one.name);
  select.hidden = names.length < 2;
  fill(select, names.map((name) => new Option(name, name)));
  select.value = source || names[0];
}

function showEvents() {
  const places = Object.keys(told?.labels ?? {});
  isListed = true;
  $("none").hidden = events.length > 0;
  $("events").replaceChildren(...events.map((event) => {
    const row = document.createElement("tr");
    const onset = new Date(event.onset);
    const day = onset.toDateString() === new Date().toDateString() ? "" : `${onset.toLocaleDateString()} `;
    const time = cell(row, day + onset.toLocaleTimeString() + (event.clock === "synced" ? "" : " ?"));
    time.title = event.clock === "synced" ? event.onset : `${event.onset}, by a clock that no time source had set`;
    const label = cell(row, event.label);
    label.className = "dot";
    label.style.color = colour(Math.max(0, places.indexOf(event.label)));
    cell(row, `${event.duration_s.toFixed(2)} s`);
    cell(row, event.score.toFixed(3));
    cell(row, event.source);
    return row;
  }));
}

function cell(row, text) {
  const made = row.insertCell();
  made.textContent = text;
  return made;
}

function showHours() {
  // From the start of this hour in the browser's zone back, whatever its clocks did in between.
  const now = deviceNow(), past = new Date(now);
  const last = now - (past.getMinutes() * 60 + past.getSeconds()) * 1000 - past.getMilliseconds();
  const starts = Array.from({ length: 24 }, (_, place) => last - (23 - place) * HOUR);
  const hours = starts.map((start) => told.day.filter(({ at }) => Math.floor((Date.parse(at) - start) / HOUR) === 0));
  const seconds = hours.map((quarters) => quarters.reduce((sum, one) => sum + one.heard_s, 0));
  const clockOf = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const rows = Object.keys(told.labels).map((name, place) => {
    const counts = hours.map((quarters) => quarters.reduce((sum, one) => sum + (one.counts[name] ?? 0), 0));
    const total = counts.reduce((sum, count) => sum + count, 0), most = Math.max(1, ...counts);
    const row = element("div", "day"), bars = element("div", "bars"), label = element("span", "dot", name);
    label.style.color = colour(place);
    bars.setAttribute("role", "img");
    bars.setAttribute("aria-label", `${name}: ${total} in the last 24 hours, at most ${most} an hour`);
    starts.forEach((start, hour) => {
      const column = element("span", seconds[hour] ? "" : "unheard"), bar = element("i");
      column.title = `${clockOf(start)} to ${clockOf(start + HOUR)}: ${counts[hour]} ${name}`;
      bar.style.height = `${counts[hour] / most * 100}%`;
      bar.style.background = colour(place);
      column.append(bar);
      bars.append(column);
    });
    row.append(label, bars, element("span", "total", String(total)));
    return row;
  });
  const scale = element("div", "day"), ends = element("div", "scale note");
  ends.append(element("span", "", clockOf(starts[0])), element("span", "", "now"));
  scale.append(ends);
  fill($("hours"), [...rows, scale]);
  const sources = told.sources.length, minutes = Math.round(seconds.reduce((sum, heard) => sum + heard, 0) / 60);
  const long = minutes < 120 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
  set($("monitored"), `${long} of sound heard${sources > 1 ? ` from ${sources} sources` : ""} in that time. Hatched: none, or before the device was started.`);
}

function showFacts() {
  const { status } = told, apart = Math.round((Date.parse(told.now) - Date.now()) / 1000);
  const rate = breathing && deviceNow() - Date.parse(breathing.at) < CURRENT ? breathing.rate_bpm : null;
  const isFar = Math.abs(apart) > 60;
  const facts = [   // name, text, whether somebody should look after it
    ["Broker", told.is_connected ? "connected" : "not connected", !told.is_connected],
    ["Waiting messages", String(status.outbox_depth)],
    ["Clock", (told.clock === "synced" ? "set" : "not set by a time source") +
      (isFar ? `, ${Math.abs(apart)} s ${apart > 0 ? "ahead of" : "behind"} this browser's` : ""), isFar],
    ["Behind the sound", `${status.lag_s.toFixed(1)} s`],
  ];
  if (breathing) facts.push(["Breathing rate", rate === null ? "unsure" : `${rate.toFixed(0)} a minute`]);
  if (status.outbox_dropped) facts.push(["Messages given up", String(status.outbox_dropped), true]);
  for (const source of told.sources) if (source.trouble) facts.push([source.name, source.trouble, true]);
  fill($("facts"), facts.flatMap(([name, text, isBad]) =>
    [element("dt", "", name), element("dd", isBad ? "bad" : "", text)]));
}

function element(kind, className, text = "") {
  const made = document.createElement(kind);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

// Only where they change: a selection goes with what is replaced, and so does the title that is shown under the mouse.
function fill(node, children) {
  const made = element(node.tagName);
  made.append(...children);
  if (made.innerHTML !== node.innerHTML) node.replaceChildren(...children);
}

// Only where it changes: a screen reader speaks what is set.
function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function redraw() {
  showState();
  // A device that lost its power does not say so, and its connection would seem to stand for ever.
  if (performance.now() - Math.max(triedAt, toldAt) > SILENT) connect();
  const end = deviceNow();
  if (sound.length && end - sound.at(-1).end > 5_000) { $("meter").value = -80; set($("level"), "no sound"); }
  if (!told || document.hidden) return;
  if (!isListed) showEvents();
  draw($("scores"), { labels: told.labels, sound, events: marks, end, span: SPAN });
}

$("source").addEventListener("change", (event) => { source = event.target.value; connect(); });
connect();
setInterval(redraw, 250);

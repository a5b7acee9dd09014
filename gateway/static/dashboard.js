// Follows the pipeline: reads the snapshot every ten seconds, and the events as they come. Text is set as text, never as markup.
"use strict";

const EVERY_MS = 10_000, MOST_EVENTS = 100;
const at = (id) => document.getElementById(id);
const number = (value, digits = 0) => value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
const size = (bytes) => bytes == null ? "–" : bytes >= 1e12 ? `${number(bytes / 1e12, 2)} TB` : `${number(bytes / 1e9, 1)} GB`;
const clock = (text) => new Date(text).toISOString().slice(11, 16);

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Columns: [title, value of a row, class]. An empty table says what that means.
function table(place, columns, rows, nothing) {
  if (!rows.length) { place.replaceChildren(element("p", nothing, "soft")); return; }
  const made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
  for (const [title, , className = ""] of columns) {
    const cell = element("th", title, className);
    cell.scope = "col";
    head.append(cell);
  }
  for (const row of rows) {
    const line = body.insertRow();
    for (const [, value, className = ""] of columns) line.append(element("td", String(value(row)), className));
  }
  place.replaceChildren(made);
}

function totals(seen) {
  const day = seen.statistics.stages.find((one) => one.stage === "transcript") ?? {};
  const failed = seen.statistics.failures.reduce((sum, one) => sum + one.count, 0);
  const shown = [
    ["Feeds", number(seen.statistics.feeds)], ["Episodes", number(seen.statistics.episodes)],
    ["Done", number(seen.statistics.done)], ["Queue", number(seen.statistics.queue)],
    ["Failures", number(failed)], ["Hours in 24 h", number(day.audio_hours_24h, 1)],
    ["In the window", number(seen.window_episodes)], ["Runs at work", number(seen.runs.started)],
    ["Jobs waiting", number(seen.jobs.queued)], ["Audio", size(seen.audio_bytes)],
  ];
  at("totals").replaceChildren(...shown.map(([name, value]) => {
    const group = element("div");
    group.append(element("dt", name), element("dd", value));
    return group;
  }));
}

// A bar for each of the last 24 hours.
function hours(place, rows) {
  const space = "http://www.w3.org/2000/svg", height = 150, base = 126;
  const width = Math.max(240, place.clientWidth), step = width / 24, every = width < 600 ? 6 : 3;
  const make = (name, attributes, text) => {
    const made = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text != null) made.textContent = text;
    return made;
  };
  const known = new Map(rows.map((row) => [new Date(row.at).getTime(), row]));
  const last = Math.floor(Date.now() / 3.6e6) * 3.6e6;
  const bars = Array.from({ length: 24 }, (_, index) => last - (23 - index) * 3.6e6);
  const most = Math.max(0.001, ...rows.map((row) => row.audio_hours));
  const total = rows.reduce((sum, row) => sum + row.audio_hours, 0);
  const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${number(total, 1)} hours of audio in 24 hours` });
  bars.forEach((hour, index) => {
    const row = known.get(hour), tall = row ? (base - 20) * row.audio_hours / most : 0, x = index * step + step / 10;
    const bar = make("rect", { x, y: base - tall, width: step * 0.8, height: tall, rx: 2 });
    bar.append(make("title", {}, `${clock(hour)}: ${number(row?.audio_hours ?? 0, 2)} h, ${number(row?.episodes ?? 0)} episodes`));
    picture.append(bar);
    if (index % every === 0) picture.append(make("text", { x, y: height - 6 }, clock(hour)));
  });
  picture.append(make("line", { x1: 0, x2: width, y1: base, y2: base }), make("text", { x: 4, y: 12 }, `most: ${number(most, 2)} h`));
  place.replaceChildren(picture);
}

function disks(seen) {
  at("disks").replaceChildren(...seen.disks.map((disk) => {
    const group = element("div"), bar = element("progress"), name = `${disk.folder}: ${size(disk.free_bytes)} of ${size(disk.total_bytes)} free`;
    bar.max = disk.total_bytes; bar.value = disk.total_bytes - disk.free_bytes;
    bar.setAttribute("aria-label", name);
    group.append(element("p", name), bar);
    return group;
  }), ...(seen.shortage ? [element("p", `Admission pauses: ${seen.shortage}`, "bad")] : []));
}

function alerts(seen) {
  at("alerts").hidden = !seen.alerts.length;
  at("alerts").querySelector("ul").replaceChildren(...seen.alerts.map((one) => element("li", `${one.name} ${one.subject}: ${one.message}`)));
}

function show(seen) {
  totals(seen); alerts(seen); disks(seen); hours(at("hours"), seen.hours);
  table(at("stages"), [
    ["Stage", (one) => one.stage], ["Landed", (one) => number(one.landed), "number"],
    ["Failed", (one) => number(one.failed), "number"], ["Waiting", (one) => number(one.waiting), "number"],
    ["24 h", (one) => number(one.landed_24h), "number"],
  ], seen.statistics.stages, "No stages.");
  table(at("engines"), [
    ["Stage", (one) => one.stage], ["× real time", (one) => number(one.rtfx, 1), "number"],
    ["Busy", (one) => one.utilization == null ? "–" : `${number(100 * one.utilization)} %`, "number"],
    ["Episodes", (one) => number(one.episodes), "number"],
    ["Engine", (one) => `${one.engine} ${one.model} on ${one.device}`, "model"],
  ], seen.engines, "No engine has worked in the last 24 hours.");
  table(at("running"), [
    ["Episode", (one) => one.episode_id], ["Engine", (one) => one.slot], ["Where", (one) => one.worker],
    ["Done", (one) => `${number(one.done_ms / 60_000, 1)} min`, "number"],
  ], seen.running, "No engine works now.");
  const devices = [
    ...seen.workers.map((one) => ({ name: one.name, where: `${one.host}, ${one.devices.join(", ")}`, use: `${one.jobs} jobs` })),
    ...seen.gpus.map((one) => ({ name: `GPU ${one.index}`, where: one.name, use: `${size(one.used_bytes)} of ${size(one.total_bytes)}, ${one.utilization == null ? "–" : number(100 * one.utilization)} %` })),
  ];
  table(at("workers"), [["Name", (one) => one.name], ["Where", (one) => one.where], ["Use", (one) => one.use]],
    devices, "No worker is connected, and this machine has no GPU that nvidia-smi shows.");
  table(at("failures"), [
    ["Stage", (one) => one.stage], ["Class", (one) => one.error_class], ["Episodes", (one) => number(one.count), "number"],
    ["Tried again", (one) => one.retryable ? "yes" : "no"], ["Newest", (one) => one.message, "text"],
  ], seen.failures, "Nothing has failed.");
  at("state").textContent = `As of ${new Date(seen.statistics.at).toISOString().slice(11, 19)} UTC`;
  at("state").className = "";
}

async function refresh() {
  try {
    const answer = await fetch("/api/v1/dashboard", { headers: { Accept: "application/json" } });
    if (answer.status === 401) { location.href = "/login?next=/"; return; }
    if (!answer.ok) throw new Error(`the service answers ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    at("state").textContent = `Not up to date: ${error.message}`;
    at("state").className = "stale";
  }
  setTimeout(refresh, EVERY_MS);
}

function follow() {
  const add = (kind) => (message) => {
    const event = JSON.parse(message.data), item = element("li", "", kind === "failed" ? "bad" : "");
    item.textContent = `${clock(event.at ?? Date.now())}  ${kind}  ${event.stage}  ${event.episode_id ?? event.key ?? ""}`;
    at("events").prepend(item);
    while (at("events").children.length > MOST_EVENTS) at("events").lastChild.remove();
  };
  const events = new EventSource("/api/v1/events");
  for (const kind of ["landed", "failed"]) events.addEventListener(kind, add(kind));
}

refresh();
follow();

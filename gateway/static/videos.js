// Requests videos, follows them, and shows finished ones. Text is set as text, never as markup.
import { NAMES, OPEN, ask, at, button, date, element, number, redraw, send, show } from "./studio_parts.js";

const EVERY_MS = 3_000;
const seconds = (value) => value == null ? "–" : `${number(Math.round(value))} s`;
const size = (bytes) => bytes == null ? "–" : `${(bytes / 1e9).toFixed(1)} GB`;

// Columns: [title, value of a row]. A value is text or an element.
function table(place, columns, rows, nothing) {
  if (!rows.length) { place.replaceChildren(element("p", nothing, "soft")); return; }
  const made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
  for (const [title] of columns) {
    const cell = element("th", title);
    cell.scope = "col";
    head.append(cell);
  }
  for (const row of rows) {
    const line = body.insertRow();
    for (const [, value] of columns) {
      const shown = value(row);
      line.insertCell().append(shown instanceof Node ? shown : String(shown));
    }
  }
  place.replaceChildren(made);
}

function state(one) {
  let text = NAMES[one.state];
  if (one.state === "pending" && one.retry_at) text = `tried again at ${one.retry_at.slice(11, 16)} UTC`;
  else if (one.state === "pending" && one.position) text = `in the queue, place ${one.position}`;
  else if (one.state === "processing") text = `being made: ${(one.stage ?? "").replaceAll("_", " ")}`;
  const made = element("span", text, one.state);
  for (const more of [one.error, one.waits_for && `Set aside: ${one.waits_for}`]) {
    if (more) made.append(element("br"), element("small", more));
  }
  return made;
}

function kind(one) {
  const made = element("span", one.kind.replace("_", " "));
  if (one.kind_reason) made.append(element("br"), element("small", one.kind_reason, "soft"));
  return made;
}

function preview(one) {
  const video = at("preview"), save = at("save");
  video.src = one.links.file;
  video.hidden = save.hidden = false;
  video.setAttribute("aria-label", one.title);
  save.href = `${one.links.file}?download=true`;
  show("preview-hint", one.title);
}

async function cancel(one) {
  if (!confirm(`Cancel "${one.title}"?`)) return;
  try {
    await send(`videos/${one.video_id}/cancel`, {});
    show("refusal", null);
  } catch (error) {
    show("refusal", error.message);
  }
  await refresh();
}

function act(one) {
  if (OPEN.has(one.state)) return button("Cancel", `Cancel ${one.title}`, () => cancel(one));
  return one.links.file ? button("Show", `Show ${one.title}`, () => preview(one)) : "";
}

function use(device) {
  if (device.set_aside_at) return element("span", `set aside: ${device.reason}`, "failed");
  return device.video_id ? `has ${device.video_id}` : "free";
}

async function refresh() {
  const [found, devices] = await Promise.all([ask("videos?limit=50"), ask("videos/devices")]);
  redraw(at("own-videos"), (place) => table(place, [
    ["Title", (one) => one.title], ["Kind", kind], ["State", state], ["Device", (one) => one.device ?? "–"],
    ["Length", (one) => seconds(one.duration_ms == null ? null : one.duration_ms / 1000)],
    ["Waited", (one) => seconds(one.timings.waited_s)], ["Speech", (one) => seconds(one.timings.speech_s)],
    ["Video", (one) => seconds(one.timings.video_s)], ["Requested", (one) => date(one.requested_at)], ["Action", act],
  ], found.videos, "You have requested no video."));
  table(at("devices"), [
    ["Device", (one) => one.device], ["Use", use],
    ["Memory", (one) => one.memory_total_bytes == null ? "–" : `${size(one.memory_used_bytes)} of ${size(one.memory_total_bytes)}`],
    ["Utilization", (one) => one.utilization == null ? "–" : `${Math.round(100 * one.utilization)} %`],
  ], devices, "No device is set, so requests become audiograms (PODLAKE_HEAD_DEVICES).");
  at("state").textContent = `As of ${new Date().toISOString().slice(11, 19)} UTC`;
  at("state").className = "";
}

// The name of the stored file; null where none is chosen.
async function uploaded(id) {
  const [file] = at(id).files;
  if (!file) return null;
  at("progress").textContent = `Uploading ${file.name} …`;
  const kept = await ask(`videos/uploads?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file });
  return kept.name;
}

at("script").addEventListener("input", () => {
  at("text-count").textContent = `${number(at("script").value.length)} of 5,000 characters`;
});

at("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  show("refusal", null);
  at("make").disabled = true;
  try {
    const video = await uploaded("video-file"), audio = await uploaded("audio-file");
    const asked = { text: at("script").value, title: at("title").value, language: at("language").value,
      kind: at("kind").value, shape: at("shape").value, video, audio };
    await send("videos", asked);
    at("progress").textContent = "It is in the queue.";
  } catch (error) {
    at("progress").textContent = "";
    show("refusal", error.message);
  }
  at("make").disabled = false;
  await refresh();
});

async function keepUp() {
  try {
    await refresh();
  } catch (error) {
    at("state").textContent = `Not up to date: ${error.message}`;
    at("state").className = "stale";
  }
  setTimeout(keepUp, EVERY_MS);
}
keepUp();

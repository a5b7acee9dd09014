// Lessons that are dubbed: add, watch, approve or reject. Text is set as text, never as markup.
import { ask, at, button, date, element, send, show } from "./studio_parts.js";

const EVERY_MS = 5_000;
const NAMES = {
  pending: "in the queue", processing: "at work", content_review: "waits: may it be dubbed?",
  voiceover_review: "waits: may the dub be published?", rejected: "rejected", published: "published", failed: "failed",
  cancelled: "cancelled",
};
const GATES = new Set(["content_review", "voiceover_review"]);
const OPEN = new Set(["pending", "processing", ...GATES]);
const drawn = new Map();  // lesson → what was drawn of it, so that a video that plays is left alone

async function act(work) {
  try {
    await work();
    show("refusal", null);
  } catch (error) {
    show("refusal", error.message);
  }
  await refresh();
}

function decide(lesson, decision) {
  const note = decision === "rejected" ? prompt(`Why is “${lesson.title}” rejected?`) : null;
  if (decision === "rejected" && !note) return;
  act(() => send(`lessons/${lesson.lesson_id}/reviews`, { decision, note, gate: GATES.has(lesson.state) ? lesson.state : null }));
}

function player(lesson) {
  const which = lesson.has_dub ? "dubbed" : "source", made = element("video");
  made.controls = true;
  made.preload = "none";
  made.width = 480;
  made.src = `/api/v1/lessons/${lesson.lesson_id}/video?which=${which}`;
  made.setAttribute("aria-label", `${lesson.title}, ${which}`);
  if (lesson.has_dub) {
    for (const [kind, language] of [["target", lesson.target_language], ["source", lesson.source_language]]) {
      const track = element("track");
      Object.assign(track, { kind: "subtitles", label: language, srclang: language, default: kind === "target" });
      track.src = `/api/v1/lessons/${lesson.lesson_id}/subtitles/${kind}.vtt`;
      made.append(track);
    }
  }
  return made;
}

function card(lesson) {
  const made = element("article"), line = element("p");
  made.append(element("h3", lesson.title));
  line.append(`${lesson.source_language} → ${lesson.target_language}${lesson.course ? `, ${lesson.course}` : ""}: `);
  line.append(element("strong", NAMES[lesson.state], lesson.state), " ");
  if (OPEN.has(lesson.state) && !GATES.has(lesson.state) && lesson.stage) line.append(`(${lesson.stage}) `);
  line.append(date(lesson.added_at));
  made.append(line);
  if (lesson.error) made.append(element("p", lesson.error, "error"));
  if (lesson.location) made.append(element("p", lesson.location, "soft"));
  for (const one of lesson.reviews) {
    const gate = one.gate === "content_review" ? "content" : "dub";
    made.append(element("p", `${gate} ${one.decision} by ${one.decided_by}${one.note ? `: ${one.note}` : ""}`, "soft"));
  }
  if (lesson.has_source || lesson.has_dub) made.append(player(lesson));
  const buttons = element("p", "", "row");
  if (GATES.has(lesson.state)) {
    buttons.append(button("Approve", `Approve ${lesson.title}`, () => decide(lesson, "approved")), " ");
    buttons.append(button("Reject", `Reject ${lesson.title}`, () => decide(lesson, "rejected")), " ");
  }
  if (lesson.state === "rejected") {
    buttons.append(button("Approve after all", `Approve ${lesson.title} after all`, () => decide(lesson, "approved")), " ");
  }
  if (OPEN.has(lesson.state)) {
    buttons.append(button("Cancel", `Cancel ${lesson.title}`, () => {
      if (confirm(`Cancel “${lesson.title}”?`)) act(() => send(`lessons/${lesson.lesson_id}/cancel`, {}));
    }));
  }
  if (buttons.childNodes.length) made.append(buttons);
  return made;
}

function draw(lessons) {
  const place = at("lessons"), cards = [];
  for (const lesson of lessons) {
    const seen = JSON.stringify(lesson), before = drawn.get(lesson.lesson_id);
    const now = before?.seen === seen ? before : { seen, card: card(lesson) };
    drawn.set(lesson.lesson_id, now);
    cards.push(now.card);
  }
  const same = cards.length === place.children.length && cards.every((one, index) => one === place.children[index]);
  if (!lessons.length) place.replaceChildren(element("p", "There are no lessons yet.", "soft"));
  else if (!same) place.replaceChildren(...cards);
}

async function refresh() {
  try {
    const { lessons } = await ask("lessons");
    draw(lessons);
    const waiting = lessons.filter((one) => GATES.has(one.state)).length;
    at("state").textContent = `${lessons.length} lessons, ${waiting} wait for a review`;
  } catch (error) {
    at("state").textContent = `The service does not answer: ${error.message}`;
  }
}

at("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const go = at("add").querySelector("button");
  if (go.disabled) return;  // a second click while the first one is sent
  go.disabled = true;
  const file = at("file").files[0], values = { file_name: file.name };
  for (const name of ["title", "source", "target", "course"]) if (at(name).value.trim()) values[name] = at(name).value.trim();
  at("state").textContent = `Sending ${file.name} …`;
  act(async () => {
    await ask(`lessons?${new URLSearchParams(values)}`, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
    at("add").reset();
  }).finally(() => { go.disabled = false; });
});

await refresh();
setInterval(refresh, EVERY_MS);

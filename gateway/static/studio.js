// The studio: writes a script, requests its podcast, follows it turn by turn, and plays it.
import { OPEN, ask, at, button, date, element, follow, number, redraw, send, show, state } from "./studio_parts.js";

const CHECK_AFTER_MS = 500, EVERY_MS = 2_000, FIELDS = ["title", "language", "script"];
const BUTTON = { pending: "queued", processing: "processing", completed: "ready", failed: "failed", cancelled: "idle" };
let limits = null, current = null, list = [], cursor = null;
let key = null;  // a repeated click has the same key, and is the same request
let isSending = false, isEdited = false, checking = 0, timer = 0;

const written = () => ({ title: at("title").value, language: at("language").value.trim(), script: at("script").value });

// crypto.randomUUID exists only where the page came by https or from this machine
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What is in the editor outlives a reload and a login in between.
function fill(from) {
  for (const field of FIELDS) at(field).value = from[field];
  count();
}

function showButton() {
  const state = isSending ? "queued" : isEdited && !OPEN.has(current?.state) ? "idle" : BUTTON[current?.state] ?? "idle";
  const isFull = limits != null && limits.open >= limits.at_once;
  at("make").dataset.state = state;
  at("make").disabled = isSending || isFull;
  at("make").textContent = {
    idle: "Make the podcast",
    queued: current?.position ? `In the queue: place ${current.position}` : "In the queue",
    processing: current ? `Being made: ${current.lines_made} of ${current.n_turns} lines` : "Being made",
    ready: "Ready. Make it again",
    failed: "Failed. Try again",
  }[state];
}

function count() {
  const n = [...at("script").value].length, turns = at("script").value.match(/\[S\d+\]/g)?.length ?? 0;
  const most = limits.script_characters - 1;
  at("script-count").textContent = `${number(n)} of ${number(most)} characters, ${turns} ${turns === 1 ? "turn" : "turns"}`;
  at("script-count").classList.toggle("bad", n > most);
}

function showProblems(problems, only = FIELDS) {
  for (const field of only) {
    const found = problems.find((one) => one.field === field);
    at(field).setAttribute("aria-invalid", String(Boolean(found)));
    show(`${field}-error`, found?.message);
  }
}

// The service checks, so that the page has no rules of its own. Fields that are empty still are not wrong yet.
async function check() {
  const own = ++checking, asked = written();
  try {
    const problems = await send("podcasts/check", asked);
    if (own === checking) showProblems(problems, FIELDS.filter((field) => asked[field].trim()));
  } catch (error) {
    show("refusal", error.message);
  }
}

async function make(event) {
  event.preventDefault();
  if (isSending || at("make").disabled) return;
  isSending = true;
  key ??= newKey();
  show("refusal", null);
  showButton();
  try {
    current = await send("podcasts", written(), { "Idempotency-Key": key });
    key = null;
    isEdited = false;
    sessionStorage.removeItem("draft");
    showProblems([]);
    await refreshAll();
  } catch (error) {
    if (error.status !== 409 && error.status !== undefined) key = null;
    const field = error.problem?.field;
    if (FIELDS.includes(field)) {
      showProblems([{ field, message: error.message }]);
      at(field).focus();
    } else show("refusal", error.message);
  }
  isSending = false;
  showButton();
}

function showCurrent() {
  at("current").hidden = !current;
  showButton();
  if (!current) return;
  const isOpen = OPEN.has(current.state), isReady = current.state === "completed";
  at("current-title").textContent = current.title;
  const said = state(current);
  if (at("current-state").textContent !== said) at("current-state").textContent = said;
  at("progress-row").hidden = !isOpen;
  at("progress").max = current.n_turns || 1;
  at("progress").value = current.lines_made;
  show("current-error", current.state === "failed" || current.retry_at ? current.error : null);
  at("cancel").hidden = !isOpen;
  at("listen").hidden = typeof globalThis.startListening !== "function" || !(isOpen || isReady);
  const source = `/api/v1/podcasts/${current.podcast_id}/audio`;
  at("player").hidden = !isReady;
  if (isReady && !at("audio").src.endsWith(source)) {
    at("audio").src = source;
    at("audio").setAttribute("aria-label", current.title);
    at("save-mp3").href = `${source}?download=true`;
    at("save-opus").href = `${source}?format=opus&download=true`;
  }
  if (!isReady) at("audio").removeAttribute("src");
  showTurns();
}

function showTurns() {
  const turns = current.turns.map((turn) => {
    const line = element("li", "", turn.is_said ? "said" : "");
    if (turn.start_ms == null) line.append(element("span", turn.is_said ? "✓ said" : OPEN.has(current.state) ? "waits" : "–", "mark"));
    else {
      const clock = new Date(turn.start_ms).toISOString().slice(turn.start_ms >= 3.6e6 ? 11 : 14, 19);
      line.append(button(clock, `Play from ${clock}`, () => { at("audio").currentTime = turn.start_ms / 1000; at("audio").play(); }));
    }
    line.append(element("strong", turn.speaker), element("span", turn.text));
    return line;
  });
  const place = at("turns"), scrolled = place.scrollTop;
  const before = place.dataset.shown, now = JSON.stringify([current.podcast_id, current.state, current.turns]);
  if (before === now) return;  // a button that has the focus keeps it
  place.dataset.shown = now;
  place.replaceChildren(...turns);
  place.scrollTop = scrolled;
}

function followAudio() {
  const now_ms = 1000 * at("audio").currentTime, lines = at("turns").children;
  current.turns.forEach((turn, index) => {
    if (turn.start_ms <= now_ms && now_ms < turn.end_ms) lines[index]?.setAttribute("aria-current", "true");
    else lines[index]?.removeAttribute("aria-current");
  });
}

function showList() {
  redraw(at("own"), (place) => place.replaceChildren(...list.map((one) => {
    const line = element("li");
    line.append(element("span", one.title, "name"), element("span", state(one), `badge ${one.state}`), date(one.requested_at));
    line.append(button("Open", `Open ${one.title}`, () => open(one.podcast_id)));
    return line;
  })));
  if (!list.length) at("own").append(element("li", "You have requested no podcast yet.", "soft"));
  at("more").hidden = !cursor;
}

async function refreshCurrent() {
  if (current) current = await ask(`podcasts/${current.podcast_id}`);
  showCurrent();
}

async function refreshAll() {
  const [own, page] = await Promise.all([ask("podcasts/limits"), ask(`podcasts?limit=${Math.min(200, Math.max(20, list.length))}`)]);
  limits = own;
  list = page.podcasts;
  cursor = page.next_cursor;
  const fromAddress = location.hash.slice(1);
  const chosen = current?.podcast_id ?? (fromAddress || list[0]?.podcast_id);
  current = chosen ? await ask(`podcasts/${encodeURIComponent(chosen)}`).catch(() => null) : null;
  at("all-link").hidden = !own.is_admin;
  const left = Math.max(0, own.per_day - own.today);
  at("quota").textContent = `${own.at_once === 1 ? "One podcast" : `${own.at_once} podcasts`} at a time; ${left} of ${own.per_day} left today (UTC).`;
  showList();
  showCurrent();
  count();
}

async function open(podcastId) {
  current = await ask(`podcasts/${podcastId}`);
  if (!isEdited) fill(current);
  history.replaceState(null, "", `#${podcastId}`);
  globalThis.livePlayer?.stop();
  showCurrent();
  at("current-title").tabIndex = -1;
  at("current-title").focus();
}

async function keepUp() {
  clearTimeout(timer);
  try {
    const before = current?.state;
    if (OPEN.has(before)) {
      await refreshCurrent();
      if (current.state !== before) await refreshAll();
    }
    at("state").textContent = `Logged in as ${limits.user}`;
    at("state").className = "";
  } catch (error) {
    at("state").textContent = `Not up to date: ${error.message}`;
    at("state").className = "stale";
  }
  timer = setTimeout(keepUp, EVERY_MS);
}

function tell(told) {
  const line = element("div", "", told.state);
  const said = told.state === "completed" ? `“${told.title}” is ready.` : `“${told.title}” could not be made. ${told.error ?? ""}`;
  line.append(element("span", said), button("Open", `Open ${told.title}`, () => open(told.podcast_id)));
  line.append(button("Close", "Close this notification", () => line.remove()));
  at("notices").prepend(line);
  refreshAll().catch(() => {});  // keepUp says when the service is away
}

function insert(tag) {
  const area = at("script"), before = area.value.slice(0, area.selectionStart).replace(/[ \t]+$/, "");
  const after = area.value.slice(area.selectionEnd);
  const start = before && !before.endsWith("\n") ? `${before}\n` : before;
  area.value = `${start}[${tag}] ${after}`;
  area.selectionStart = area.selectionEnd = start.length + tag.length + 3;
  area.focus();
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

async function start() {
  await refreshAll();
  const speakers = [...new Set(limits.voices.map((voice) => voice.speaker))].sort();
  at("tags").replaceChildren(...speakers.map((tag) => button(`[${tag}]`, `Insert [${tag}]`, () => insert(tag))));
  const draft = sessionStorage.getItem("draft");
  isEdited = draft != null;
  if (draft) fill(JSON.parse(draft));
  else if (current) fill(current);
  showButton();
  at("editor").addEventListener("submit", make);
  at("editor").addEventListener("input", () => {
    isEdited = true;
    key = null;
    sessionStorage.setItem("draft", JSON.stringify(written()));
    count();
    showButton();
    clearTimeout(start.timer);
    start.timer = setTimeout(check, CHECK_AFTER_MS);
  });
  at("cancel").addEventListener("click", async () => {
    at("cancel").disabled = true;
    try {
      current = await send(`podcasts/${current.podcast_id}/cancel`, {});
    } catch (error) {
      show("refusal", error.message);
    }
    at("cancel").disabled = false;
    await refreshAll();
  });
  at("listen").addEventListener("click", () => globalThis.startListening(current.podcast_id));
  at("audio").addEventListener("timeupdate", followAudio);
  at("more").addEventListener("click", async () => {
    const page = await ask(`podcasts?limit=20&cursor=${encodeURIComponent(cursor)}`);
    list.push(...page.podcasts);
    cursor = page.next_cursor;
    showList();
  });
  addEventListener("hashchange", () => open(location.hash.slice(1)).catch((error) => show("refusal", error.message)));
  follow(tell);
  keepUp();
}

start().catch((error) => {
  at("state").textContent = `Not available: ${error.message}`;
  at("state").className = "stale";
});

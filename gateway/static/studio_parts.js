// What the studio's pages share. Text is set as text, never as markup.

export const at = (id) => document.getElementById(id);
export const number = (value) => value.toLocaleString("en");
export const OPEN = new Set(["pending", "processing"]);
export const NAMES = { pending: "in the queue", processing: "being made", completed: "ready", failed: "failed", cancelled: "cancelled" };

export function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function button(text, name, act) {
  const made = element("button", text);
  made.type = "button";
  if (name) made.setAttribute("aria-label", name);
  made.addEventListener("click", act);
  return made;
}

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the service answers ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

// The answer of the API as an object. Somebody who is not logged in any more is led to the form.
export async function ask(path, options = {}) {
  const answer = await fetch(`/api/v1/${path}`, { ...options, headers: { Accept: "application/json", ...options.headers } });
  if (answer.status === 401) location.href = `/login?next=${location.pathname}`;
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, found);
  return found;
}

export const send = (path, body, headers = {}) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } });

export function show(id, text) {
  at(id).textContent = text ?? "";
  at(id).hidden = !text;
}

// Draw a place again. The button that had the focus gets it again.
export function redraw(place, draw) {
  const label = place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  draw(place);
  if (label) place.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus({ preventScroll: true });
}

export function date(text) {
  const made = element("time", `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`, "soft");
  made.dateTime = text;
  return made;
}

// What stands beside a podcast's title: "in the queue, place 2", "being made, 3 of 8 lines".
export function state(podcast) {
  if (podcast.state === "pending" && podcast.retry_at) return `tried again at ${podcast.retry_at.slice(11, 16)} UTC`;
  if (podcast.state === "pending" && podcast.position) return `in the queue, place ${podcast.position}`;
  if (podcast.state === "processing") return `being made, ${podcast.lines_made} of ${podcast.n_turns} lines`;
  return NAMES[podcast.state];
}

// Hears of finished podcasts, each once: it drops ids that it has seen, and connects again after the last one.
export function follow(tell) {
  let last = null, wait_ms = 1_000;
  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/v1/notifications${last == null ? "" : `?after=${last}`}`);
    socket.addEventListener("open", () => { wait_ms = 1_000; });
    socket.addEventListener("message", (message) => {
      const told = JSON.parse(message.data);
      if (told.type !== "notification") return;
      if (last == null || told.id > last) { last = told.id; tell(told); }
      socket.send(JSON.stringify({ type: "ack", id: told.id }));
    });
    socket.addEventListener("close", () => {
      setTimeout(connect, wait_ms);
      wait_ms = Math.min(2 * wait_ms, 30_000);
    });
  }
  connect();
}

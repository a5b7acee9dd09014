// All requested podcasts, for administrators: states, users, and cancelling.
import { NAMES, OPEN, ask, at, button, date, element, number, redraw, send, show, state } from "./studio_parts.js";

const EVERY_MS = 5_000, STATES = Object.keys(NAMES);
let list = [], cursor = null;

const query = () => at("user").value.trim() ? `user=${encodeURIComponent(at("user").value.trim())}` : "everyone=true";

// Columns: [title, cell of a row (a text or an element), class].
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
    for (const [, value, className = ""] of columns) {
      const cell = element("td", "", className);
      cell.append(value(row));
      line.append(cell);
    }
  }
  place.replaceChildren(made);
}

function showOverview(seen) {
  const mails = seen.mails;
  const shown = [
    ...STATES.map((name) => [NAMES[name], seen.states[name] ?? 0]), ["users", seen.users.length],
    ["e-mails sent", mails.sent ?? 0], ["e-mails that wait", (mails.waiting ?? 0) + (mails.claimed ?? 0)],
    ["e-mails without an answer", mails.sending ?? 0], ["e-mails given up", mails.given_up ?? 0],
  ];
  at("counts").replaceChildren(...shown.map(([name, value]) => {
    const group = element("div");
    group.append(element("dt", name), element("dd", number(value)));
    return group;
  }));
  table(at("users"), [
    ["User", (one) => one.user],
    ...STATES.map((name) => [NAMES[name], (one) => number(one.states[name] ?? 0), "number"]),
  ], seen.users, "No podcasts are requested.");
}

async function cancel(podcast) {
  if (!confirm(`Cancel “${podcast.title}” of ${podcast.user}?`)) return;
  try {
    await send(`podcasts/${podcast.podcast_id}/cancel`, {});
    show("refusal", null);
  } catch (error) {
    show("refusal", error.message);
  }
  await refresh();
}

function detail(one) {
  const made = element("span", state(one), one.state);
  if (one.error && one.state !== "completed") made.append(element("br"), element("small", one.error));
  return made;
}

function title(one) {
  const link = element("a", one.title);
  link.href = `/studio#${one.podcast_id}`;
  return link;
}

function act(one) {
  return OPEN.has(one.state) ? button("Cancel", `Cancel ${one.title} of ${one.user}`, () => cancel(one)) : "";
}

function showList() {
  redraw(at("all"), (place) => table(place, [
    ["User", (one) => one.user], ["Title", title, "text"], ["State", detail, "text"],
    ["Attempt", (one) => number(one.attempt), "number"], ["Requested", (one) => date(one.requested_at)], ["Cancel", act],
  ], list, "There is no request."));
  at("more").hidden = !cursor;
}

async function refresh() {
  const [seen, page] = await Promise.all([
    ask("podcasts/overview"), ask(`podcasts?${query()}&limit=${Math.min(200, Math.max(50, list.length))}`),
  ]);
  showOverview(seen);
  list = page.podcasts;
  cursor = page.next_cursor;
  showList();
  at("state").textContent = `As of ${new Date().toISOString().slice(11, 19)} UTC`;
  at("state").className = "";
}

async function keepUp() {
  try {
    await refresh();
  } catch (error) {
    at("state").textContent = `Not up to date: ${error.message}`;
    at("state").className = "stale";
  }
  setTimeout(keepUp, EVERY_MS);
}

at("filter").addEventListener("submit", (event) => { event.preventDefault(); list = []; refresh(); });
at("more").addEventListener("click", async () => {
  const page = await ask(`podcasts?${query()}&limit=50&cursor=${encodeURIComponent(cursor)}`);
  list.push(...page.podcasts);
  cursor = page.next_cursor;
  showList();
});
keepUp();

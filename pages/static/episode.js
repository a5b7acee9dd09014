// The reading page: plays from a word, follows the audio, searches, and answers to keys.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const audio = $("audio"), timeline = $("timeline"), cursor = $("cursor"), follow = $("follow");
  const turns = [...document.querySelectorAll(".turn")];
  const length = timeline.viewBox.baseVal.width;
  const starts = turns.map((turn) => parseInt(turn.dataset.w, 10)); // ms; turns are in time order

  // An element per word, made when a turn is reached: 100 000 of them at once are slow on a phone.
  function words(turn) {
    if (turn.words) return turn.words;
    const paragraph = turn.querySelector("p"), text = paragraph.textContent, parts = document.createDocumentFragment();
    let at = 0, time = 0;
    turn.words = turn.dataset.w.split(" ").map((entry) => {
      const [wait, duration, signed] = entry.split(",").map(Number);
      const from = at + (text.slice(at).length - text.slice(at).trimStart().length), to = from + Math.abs(signed);
      const span = document.createElement("span");
      time += wait;
      span.dataset.s = time;
      span.textContent = text.slice(from, to);
      if (signed < 0) { span.className = "low"; span.title = "uncertain"; }
      parts.append(text.slice(at, from), span);
      at = to;
      return { span, start: time, end: time + duration };
    });
    parts.append(text.slice(at));
    paragraph.replaceChildren(parts);
    return turn.words;
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { words(entry.target); seen.unobserve(entry.target); }
  }, { rootMargin: "300px" });
  turns.forEach((turn) => seen.observe(turn));

  // The last item that starts at or before a time; -1 before the first.
  function last(count, start, ms) {
    let low = 0, high = count;
    while (low < high) { const middle = (low + high) >> 1; if (start(middle) <= ms) low = middle + 1; else high = middle; }
    return low - 1;
  }
  const turnAt = (ms) => last(turns.length, (i) => starts[i], ms);
  const now = () => (audio ? audio.currentTime * 1000 : 0);

  let lit = null, current = -1;
  function show() {
    const ms = now();
    cursor.setAttribute("x1", ms / 1000);
    cursor.setAttribute("x2", ms / 1000);
    const index = turnAt(ms + 1);
    let word = null;
    if (index >= 0) {
      const own = words(turns[index]), i = last(own.length, (n) => own[n].start, ms + 1);
      if (i >= 0 && ms < own[i].end + 300) word = own[i].span;
    }
    if (word !== lit) { lit?.classList.remove("now"); word?.classList.add("now"); lit = word; }
    if (index !== current) {
      turns[current]?.removeAttribute("aria-current");
      turns[index]?.setAttribute("aria-current", "true");
      current = index;
      if (follow.checked && index >= 0 && !audio?.paused) turns[index].scrollIntoView({ block: "center" });
    }
  }
  function seek(ms, play) {
    if (!audio) return;
    audio.currentTime = Math.max(0, ms / 1000);
    if (play) audio.play().catch(() => {});
    show();
  }
  function step() { show(); if (audio && !audio.paused) requestAnimationFrame(step); }
  audio?.addEventListener("play", step);
  audio?.addEventListener("seeked", show);
  audio?.addEventListener("timeupdate", show);

  $("transcript").addEventListener("click", (event) => {
    const turn = event.target.closest(".turn");
    if (!turn || String(getSelection())) return;
    if (event.target.dataset.s) seek(Number(event.target.dataset.s), true);
    else if (event.target.closest(".at")) seek(starts[turns.indexOf(turn)], true);
  });
  document.querySelector(".chapters")?.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const ms = Number(button.dataset.chapter);
    seek(ms, true);
    turns[Math.max(0, turnAt(ms))]?.scrollIntoView({ block: "center" });
  });
  timeline.addEventListener("click", (event) => {
    const box = timeline.getBoundingClientRect(), ms = ((event.clientX - box.left) / box.width) * length * 1000;
    seek(ms, false);
    turns[Math.max(0, turnAt(ms))]?.scrollIntoView({ block: "center" });
  });

  // Search ignores case and accents.
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLocaleLowerCase();
  let texts = null, hits = [], place = -1;
  function find() {
    const wanted = plain($("search").value.trim());
    texts ??= turns.map((turn) => plain(turn.querySelector("p").textContent));
    turns.forEach((turn) => turn.classList.remove("found", "here"));
    hits = wanted ? turns.filter((_, i) => texts[i].includes(wanted)) : [];
    hits.forEach((turn) => turn.classList.add("found"));
    place = -1;
    $("found").textContent = wanted ? `${hits.length} ${hits.length === 1 ? "turn" : "turns"}` : "";
    $("previous").disabled = $("next").disabled = !hits.length;
    if (hits.length) go(1);
  }
  function go(by) {
    if (!hits.length) return;
    hits[place]?.classList.remove("here");
    place = (place + by + hits.length) % hits.length;
    hits[place].classList.add("here");
    hits[place].scrollIntoView({ block: "center" });
    $("found").textContent = `${place + 1} of ${hits.length}`;
  }
  let pause = 0;
  $("search").addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(find, 150); });
  $("search").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); go(event.shiftKey ? -1 : 1); } });
  $("next").addEventListener("click", () => go(1));
  $("previous").addEventListener("click", () => go(-1));
  // "Here" is where the audio is, or else the first turn that is to be seen.
  $("listen")?.addEventListener("click", (event) => {
    const below = document.querySelector(".bar").getBoundingClientRect().bottom;
    const seen = turns.findIndex((turn) => turn.getBoundingClientRect().bottom > below);
    audio?.pause();
    event.currentTarget.search = `?from=${Math.round(now() || starts[seen] || 0)}`;
  });
  $("keys").addEventListener("click", () => $("help").showModal());

  function wordStep(by) {
    const index = Math.max(0, turnAt(now() + 1)), own = words(turns[index]);
    const i = last(own.length, (n) => own[n].start, now() + 1) + by;
    if (own[i]) seek(own[i].start, false);
    else if (turns[index + by]) { const other = words(turns[index + by]); seek(other[by > 0 ? 0 : other.length - 1].start, false); }
  }
  function turnStep(by) {
    const index = Math.min(turns.length - 1, Math.max(0, turnAt(now() + 1) + by));
    if (index >= 0) { seek(starts[index], false); turns[index].scrollIntoView({ block: "center" }); }
  }
  const actions = {
    " ": () => audio && (audio.paused ? audio.play().catch(() => {}) : audio.pause()),
    j: () => seek(now() - 10000), l: () => seek(now() + 10000),
    ArrowLeft: () => wordStep(-1), ArrowRight: () => wordStep(1),
    ArrowUp: () => turnStep(-1), ArrowDown: () => turnStep(1),
    "/": () => $("search").focus(), f: () => { follow.checked = !follow.checked; }, "?": () => $("help").showModal(),
  };
  actions.k = actions[" "];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, audio, dialog")) return;
    if (event.key === " " && event.target.closest("button, a")) return;
    const action = turns.length && actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action) { event.preventDefault(); action(); }
  });

  // page.html#ms=65000 opens at a time: search results and citations link to it.
  const asked = /^#ms=(\d+)$/.exec(location.hash);
  if (asked && turns.length) { seek(Number(asked[1]), false); turns[Math.max(0, turnAt(Number(asked[1])))].scrollIntoView({ block: "center" }); }
})();

// The search page: asks the server, or the index of a static export, whose parts are scripts (they load from files too).
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const LIMIT = 50;
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  // Characters of scripts without spaces, as in speech/turns.py. Of these, the index has each, and each pair.
  const UNSPACED = "[\\u2e80-\\u2fdf\\u3005-\\u3007\\u3040-\\u30ff\\u31f0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff" +
    "\\uff66-\\uff9f\\u{20000}-\\u{3ffff}\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff]";
  const WORD = new RegExp(`${UNSPACED}+|(?:(?!${UNSPACED})[\\p{L}\\p{N}])+`, "gu");
  const SHOWN_WORD = new RegExp(`${UNSPACED}\\p{M}*|(?:(?!${UNSPACED})[\\p{L}\\p{N}\\p{M}])+`, "gu");
  const unspaced = new RegExp(UNSPACED, "u");
  function wordsOf(text) {
    return (plain(text).match(WORD) ?? []).flatMap((run) => {
      const characters = [...run];
      if (characters.length < 2 || !unspaced.test(run)) return [run];
      return characters.slice(1).map((character, i) => characters[i] + character);
    });
  }
  const isSearched = (word, words) => words.some((one) => one === word || (unspaced.test(word) && one.includes(word)));
  const loads = new Map();

  // Parts of the index call this with what they hold.
  window.podlakeIndex = (name, value) => loads.get(name).resolve(value);
  function part(name) {
    if (!loads.has(name)) {
      const load = {};
      load.value = new Promise((resolve) => { load.resolve = resolve; });
      loads.set(name, load);
      const script = document.createElement("script");
      script.src = `search/${name}.js`;
      script.onerror = () => load.resolve({}); // no word begins like this
      document.head.append(script);
    }
    return loads.get(name).value;
  }
  const prefix = (word) => [...word].slice(0, 2).map((c) => c.codePointAt(0).toString(16)).join("-");

  async function searchFiles(words) {
    const lists = await Promise.all(words.map(async (word) => (await part(prefix(word)))[word] ?? []));
    const [first, ...others] = lists.sort((a, b) => a.length - b.length);
    const sets = others.map((list) => new Set(list.map(String)));
    const places = first.filter((place) => sets.every((set) => set.has(String(place))));
    const shown = await Promise.all(places.slice(0, LIMIT).map(async ([episode, turn]) => {
      const found = await part(`e${episode}`);
      const [start_ms, speaker, text] = found.turns[turn];
      return { episode_id: found.episode_id, title: found.title, start_ms, speaker, text };
    }));
    return { total: places.length, hits: shown };
  }
  async function searchServer(query) {
    const answer = await fetch(`${$("ask").dataset.api}?q=${encodeURIComponent(query)}&limit=${LIMIT}`);
    if (!answer.ok) throw new Error((await answer.json()).detail ?? answer.statusText);
    return answer.json();
  }

  // The text with the searched words marked; set as text, never as HTML.
  function marked(text, words) {
    const line = document.createElement("p");
    line.dir = "auto";
    let at = 0;
    for (const found of text.matchAll(SHOWN_WORD)) {
      if (!isSearched(plain(found[0]), words)) continue;
      const mark = document.createElement("mark");
      mark.textContent = found[0];
      line.append(text.slice(at, found.index), mark);
      at = found.index + found[0].length;
    }
    line.append(text.slice(at));
    return line;
  }
  const clock = (ms) => `${Math.floor(ms / 60000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;
  function entry(hit, words) {
    const box = document.createElement("div"), link = document.createElement("a"), note = document.createElement("small");
    box.className = "hit";
    link.href = `episodes/${hit.episode_id}.html#ms=${hit.start_ms}`;
    link.textContent = `${hit.title} at ${clock(hit.start_ms)}`;
    link.dir = "auto";
    note.textContent = hit.speaker ? ` ${hit.speaker}` : "";
    box.append(link, note, marked(hit.text, words));
    return box;
  }

  async function search(query) {
    const words = wordsOf(query);
    $("hits").replaceChildren();
    if (!words.length) { $("found").textContent = ""; return; }
    $("found").textContent = "Searching …";
    try {
      const { total, hits } = await ($("ask").dataset.api ? searchServer(query) : searchFiles(words));
      $("found").textContent = `${total} ${total === 1 ? "turn" : "turns"}${total > hits.length ? `, the first ${hits.length} shown` : ""}`;
      $("hits").replaceChildren(...hits.map((hit) => entry(hit, words)));
    } catch (error) {
      $("found").textContent = `The search failed: ${error.message}`;
    }
  }
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const query = $("words").value;
    history.replaceState(null, "", `?q=${encodeURIComponent(query)}`);
    search(query);
  });
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) { $("words").value = asked; search(asked); }
})();

// /listen/{id}?from=ms: a click begins, because browsers allow no sound before one.
"use strict";
(() => {
  const id = decodeURIComponent(location.pathname.split("/").pop());
  const from = Math.max(0, Number(new URLSearchParams(location.search).get("from")) || 0);
  const s = Math.floor(from / 1000), two = (n) => String(n).padStart(2, "0");
  if (from) document.getElementById("from").textContent = `from ${s >= 3600 ? `${Math.floor(s / 3600)}:` : ""}${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  document.getElementById("listen").addEventListener("click", () => {
    document.getElementById("start").hidden = true;
    startListening(id, from);
    document.querySelector(".lp-play").focus();
  });
})();

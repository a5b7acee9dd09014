// Plays an episode or a podcast live, over a WebSocket into MediaSource. `startListening(id)` mounts the player in #live-player.
"use strict";
(() => {
  const START_S = 2.5;       // audio before the first sound, and before sound goes on after it ran out
  const KEPT_S = 30;         // audio that stays behind the place that is heard; twice as much, until it is removed
  const TRIES = 8, LONGEST_WAIT_MS = 8_000;
  const Source = window.ManagedMediaSource ?? window.MediaSource;
  const clock = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000)), two = (n) => String(n).padStart(2, "0");
    return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
  };
  const kindOf = (key) => (key.startsWith("studio-") ? "podcast" : "episode");
  const clusterMs = (bytes) => { // the time of a cluster, its first element
    const view = new Uint8Array(bytes), sized = (at) => at + 9 - (32 - Math.clz32(view[at]));
    let at = sized(4) + 1, length = view[at] & 0x7f, ms = 0;
    while (length--) ms = ms * 256 + view[++at];
    return ms;
  };
  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  class Player {
    constructor(place, key, fromMs) {
      this.place = place; this.key = key; this.kind = kindOf(key);
      this.fromMs = fromMs; this.nextMs = fromMs; this.durationMs = null; this.jumpTo = null;
      this.clusterMs = 500; this.queue = []; this.tries = 0; this.clicked = performance.now();
      this.keptS = KEPT_S; this.wantsToPlay = true; this.isBuffering = true; this.hasStarted = false; this.isOver = false; this.isStopped = false;
      this.rebuffers = 0; this.words = []; this.turns = new Map();
      this.draw();
    }

    // --- what is seen

    draw() {
      this.audio = element("audio", { preload: "auto" });
      this.title = element("h2", { textContent: "Listen live" });
      this.title.dir = "auto";
      this.button = element("button", { type: "button", className: "lp-play", textContent: "Pause" });
      this.status = element("p", { className: "lp-status", textContent: "Connecting …" });
      this.status.setAttribute("role", "status");
      this.time = element("span", { className: "lp-time", textContent: clock(this.fromMs) });
      this.seeker = element("input", { type: "range", min: 0, max: 0, step: 1, value: 0, hidden: true });
      this.seeker.setAttribute("aria-label", "Place in the audio");
      this.volume = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: 1 });
      const volume = element("label", { className: "lp-volume" }, "Volume ", this.volume);
      this.list = element("ol", { className: "lp-turns" });
      this.list.tabIndex = 0;
      this.list.setAttribute("aria-label", "What is said");
      const tools = element("div", { className: "lp-tools" }, this.button, this.time, this.seeker, volume);
      const box = element("section", { className: "lp" }, this.title, tools, this.status, this.list, this.audio);
      box.setAttribute("aria-label", "Live player");
      this.place.replaceChildren(box);
      this.button.addEventListener("click", () => (this.isOver && this.audio.ended ? this.seek(0) : this.wantsToPlay ? this.pause() : this.play()));
      this.seeker.addEventListener("change", () => this.seek(Number(this.seeker.value) * 1000));
      this.volume.addEventListener("input", () => { this.audio.volume = Number(this.volume.value); });
      this.audio.addEventListener("timeupdate", () => this.progress());
      this.audio.addEventListener("waiting", () => this.ranOut());
      this.audio.addEventListener("ended", () => { this.button.textContent = "Play again"; this.wantsToPlay = false; this.say("The end."); });
      this.audio.addEventListener("error", () => this.fail("The browser cannot play this audio. It may have no sound device."));
    }
    say(text) { if (this.status.textContent !== text) this.status.textContent = text; }
    fail(text) {
      this.isOver = true; this.status.classList.add("lp-bad"); this.say(text);
      this.socket?.close();
    }
    addPassage(message) {
      let turn = this.turns.get(message.turn_idx);
      if (!turn) {
        const at = element("button", { type: "button", className: "lp-at", textContent: clock(message.start_ms) });
        at.setAttribute("aria-label", `Play from ${clock(message.start_ms)}`);
        at.addEventListener("click", () => this.seek(message.start_ms));
        const text = element("p"), item = element("li", {}, at, " ", element("b", { textContent: message.speaker ?? "" }), text);
        text.dir = "auto";
        text.lang = this.language ?? "";
        turn = { item, text, startMs: message.start_ms };
        this.turns.set(message.turn_idx, turn);
        const later = [...this.turns.values()].filter((one) => one.startMs > turn.startMs).sort((a, b) => a.startMs - b.startMs)[0];
        this.list.insertBefore(item, later?.item ?? null);
      }
      if (this.words.some((word) => word.start === message.words[0][1] && word.turn === turn)) return; // after a jump back
      for (const [text, start, end] of message.words) {
        const span = element("span", { textContent: text });
        turn.text.append(span, " ");
        this.words.push({ span, start, end, turn });
      }
      this.words.sort((a, b) => a.start - b.start);
    }
    progress() {
      const ms = (this.jumpTo ?? this.audio.currentTime) * 1000;
      this.time.textContent = this.durationMs ? `${clock(ms)} / ${clock(this.durationMs)}` : clock(ms);
      if (document.activeElement !== this.seeker) this.seeker.value = Math.floor(ms / 1000);
      this.seeker.setAttribute("aria-valuetext", clock(ms));
      let low = 0, high = this.words.length;
      while (low < high) { const middle = (low + high) >> 1; if (this.words[middle].start <= ms + 50) low = middle + 1; else high = middle; }
      const word = this.words[low - 1];
      if (word?.span !== this.lit) { this.lit?.classList.remove("lp-now"); word?.span.classList.add("lp-now"); this.lit = word?.span; }
      if (word?.turn.item !== this.current) {
        this.current?.removeAttribute("aria-current");
        this.current = word?.turn.item;
        if (this.current) {
          this.current.setAttribute("aria-current", "true");
          this.list.scrollTop = this.current.offsetTop - this.list.offsetTop - this.list.clientHeight / 3;
        }
      }
      if (this.ahead() < 0.1) this.ranOut();
    }

    // --- the connection

    async start() {
      if (!Source?.isTypeSupported('audio/webm; codecs="opus"')) {
        this.fail("This browser cannot play live audio.");
        if (this.kind === "episode") this.status.append(" ", element("a", { href: `/api/v1/episodes/${this.key}/audio`, textContent: "Open the file." }));
        return;
      }
      this.media = new Source();
      this.audio.disableRemotePlayback = true;
      this.audio.src = URL.createObjectURL(this.media);
      await new Promise((resolve) => this.media.addEventListener("sourceopen", resolve, { once: true }));
      URL.revokeObjectURL(this.audio.src);
      this.buffer = this.media.addSourceBuffer('audio/webm; codecs="opus"');
      this.buffer.mode = "sequence";
      this.setOffset = true;
      this.buffer.addEventListener("updateend", () => this.append());
      this.buffer.addEventListener("error", () => this.fail("The browser cannot play this audio."));
      await this.connect();
    }
    async token() {
      const answer = await fetch(`/api/v1/${this.kind}s/${encodeURIComponent(this.key)}/stream`, { method: "POST", headers: { Accept: "application/json" } });
      if (answer.status === 401) { location.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`; return null; }
      const said = await answer.json();
      if (answer.ok) return said.path;
      this.fail(said.detail ?? `The service answers ${answer.status}.`);
      return null;
    }
    async connect() {
      if (this.isOver || this.isStopped) return;
      try {
        this.path ??= await this.token();
      } catch { this.again(); return; }
      if (!this.path || this.isStopped) return;
      const address = new URL(`${this.path}?from=${this.nextMs}`, location.href);
      address.protocol = address.protocol.replace("http", "ws");
      const socket = this.socket = new WebSocket(address);
      let hasOpened = false, hasHeader = false;
      socket.binaryType = "arraybuffer";
      socket.onopen = () => { hasOpened = true; if (!this.wantsToPlay) this.ask("pause_request"); };
      socket.onmessage = ({ data }) => {
        if (socket !== this.socket) return;
        this.tries = 0;
        if (typeof data === "string") { this.heard(JSON.parse(data)); return; }
        if (hasHeader) this.nextMs = clusterMs(data) + this.clusterMs;
        hasHeader = true;
        this.queue.push(data);
        this.append();
      };
      socket.onclose = () => {
        if (socket !== this.socket || this.isOver || this.isStopped) return;
        if (!hasOpened) this.path = null; // the token may have expired
        this.again();
      };
    }
    again() {
      if (++this.tries > TRIES) { this.fail("The connection is lost."); return; }
      this.say("Reconnecting …");
      setTimeout(() => this.connect(), Math.min(LONGEST_WAIT_MS, 250 * 2 ** this.tries));
    }
    ask(type, more = {}) { if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...more })); }
    report(event, more = {}) { this.ask("player_report", { event, ...more }); }
    heard(message) {
      if (message.type === "stream_metadata") {
        this.title.textContent = message.title;
        this.title.lang = this.language = message.language ?? "";
        this.clusterMs = message.cluster_ms;
        this.isLive = message.is_live;
        this.isLength(message.duration_ms ?? this.durationMs);
        this.showState();
      } else if (message.type === "passage") this.addPassage(message);
      else if (message.type === "stream_end") {
        if (message.end_ms) this.isLength(this.durationMs ?? message.end_ms);
        this.isOver = true;
        this.append();
      }
      else if (message.type === "error" && message.retryable) this.tries = 0;
      else if (message.type === "error") this.fail(message.code === "replaced" ? "You listen in another window." : message.message);
    }

    isLength(ms) {
      this.durationMs = ms;
      this.seeker.max = Math.floor((ms ?? 0) / 1000);
      this.seeker.hidden = !ms;
    }

    // --- the buffer

    append() {
      const buffer = this.buffer;
      if (!buffer || buffer.updating || this.media.readyState === "closed") return;
      if (this.clearing) {
        this.clearing = false;
        if (this.media.readyState === "open") buffer.abort();
        if (buffer.buffered.length) { buffer.remove(0, Infinity); return; }
      }
      if (this.setOffset) {
        this.setOffset = false;
        buffer.timestampOffset = this.jumpTo = this.fromMs / 1000; // the audio's time is the recording's
      }
      if (this.jumpTo != null && buffer.buffered.length && this.audio.readyState) { // before, browsers forget it
        this.audio.currentTime = this.jumpTo;
        this.jumpTo = null;
      }
      const start = buffer.buffered.length ? buffer.buffered.start(0) : 0;
      if (this.jumpTo == null && this.audio.currentTime - start > 2 * this.keptS) { buffer.remove(0, this.audio.currentTime - this.keptS); return; }
      if (this.queue.length) {
        try {
          buffer.appendBuffer(this.queue[0]);
          this.queue.shift();
        } catch (error) {
          if (error.name !== "QuotaExceededError") { this.fail("The browser cannot play this audio."); return; }
          if (this.audio.currentTime - start > 2) buffer.remove(0, this.audio.currentTime - 1);
          else setTimeout(() => this.append(), 1000);
        }
        return;
      }
      if (this.isOver && this.media.readyState === "open") this.media.endOfStream();
      this.settle();
    }
    ahead() {
      if (this.jumpTo != null) return 0;
      const ranges = this.buffer?.buffered, now = this.audio.currentTime;
      for (let i = 0; i < (ranges?.length ?? 0); i++) if (ranges.start(i) <= now + 0.1 && now <= ranges.end(i)) return ranges.end(i) - now;
      return 0;
    }
    settle() { // play, when there is enough
      const ahead = this.ahead();
      if (this.isBuffering && (ahead >= START_S || (this.isOver && ahead > 0))) {
        this.isBuffering = false;
        if (this.wantsToPlay) this.sound();
      }
      if (this.isOver && ahead === 0 && !this.hasStarted && this.queue.length === 0 && !this.status.classList.contains("lp-bad")) this.say("There is no audio behind this place.");
      this.showState();
    }
    async sound() {
      try {
        await this.audio.play();
      } catch (error) {
        if (error.name === "NotAllowedError") { this.wantsToPlay = false; this.button.textContent = "Play"; this.ask("pause_request"); this.say("Press Play to listen."); }
        return;
      }
      if (!this.hasStarted) { this.hasStarted = true; this.report("started", { after_ms: Math.round(performance.now() - this.clicked) }); }
      this.showState();
    }
    ranOut() {
      // Firefox tells of waiting right before the end, and when a jump begins.
      if (this.isBuffering || !this.hasStarted || this.isOver || this.audio.paused || this.audio.seeking || this.ahead() > 0.3) return;
      this.isBuffering = true;
      this.rebuffers++;
      this.audio.pause();
      this.report("rebuffered");
      this.showState();
    }
    showState() {
      if (this.status.classList.contains("lp-bad") || this.audio.ended) return;
      if (!this.wantsToPlay) { if (this.hasStarted) this.say("Paused."); return; }
      if (!this.isBuffering) this.say("Playing.");
      else if (!this.isLive) this.say("Buffering …");
      else this.say(this.nextMs > this.fromMs && this.hasStarted ? "Buffering: what follows is being made …" : "Waiting for the first words …");
    }

    // --- what the user asks for

    pause() {
      this.wantsToPlay = false;
      this.button.textContent = "Play";
      this.audio.pause();
      this.ask("pause_request");
      this.showState();
    }
    play() {
      this.wantsToPlay = true;
      this.button.textContent = "Pause";
      this.ask("resume_request");
      if (this.isBuffering) this.settle(); else this.sound();
      this.showState();
    }
    seek(ms) {
      const ranges = this.buffer?.buffered, s = ms / 1000;
      if (!this.buffer) return;
      if (this.audio.ended || !this.wantsToPlay) { this.wantsToPlay = true; this.button.textContent = "Pause"; this.ask("resume_request"); }
      for (let i = 0; i < ranges.length; i++) {
        if (ranges.start(i) <= s && s < ranges.end(i) - 0.2) {
          this.audio.currentTime = s;
          if (!this.isBuffering) this.sound();
          return;
        }
      }
      // What is not there is asked for: the stream begins again.
      this.status.classList.remove("lp-bad");
      const before = this.socket;
      this.socket = null;
      before?.close();
      this.audio.pause();
      this.queue = [];
      this.fromMs = this.nextMs = Math.floor(ms / this.clusterMs) * this.clusterMs;
      this.isBuffering = true; this.isOver = false; this.tries = 0;
      this.clearing = this.setOffset = true;
      this.append();
      this.showState();
      this.connect();
    }
    stop() {
      this.isStopped = true;
      this.socket?.close();
      this.audio.pause();
      this.audio.removeAttribute("src");
      this.audio.load();
      this.place.replaceChildren();
    }
  }

  function addStyle() {
    if ([...document.styleSheets].some((sheet) => sheet.href?.endsWith("/static/listen.css"))) return;
    document.head.append(element("link", { rel: "stylesheet", href: "/static/listen.css" }));
  }

  // Plays the podcast or the episode with this id, from a time in ms, in the element #live-player. Returns the player.
  window.startListening = (id, fromMs = 0) => {
    addStyle();
    window.livePlayer?.stop();
    const player = window.livePlayer = new Player(document.getElementById("live-player"), id, Math.floor(fromMs / 500) * 500);
    player.start();
    return player;
  };
})();

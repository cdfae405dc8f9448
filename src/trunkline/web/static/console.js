// The console of one build: live over the websocket while it runs, the stored log after. What a job prints is data:
// it only ever becomes text nodes; colours are understood, every other control sequence is dropped.
"use strict";
(() => {
  const box = document.getElementById("console"), lines = document.getElementById("lines");
  const state = document.getElementById("console-state"), follow = document.getElementById("follow");
  const MOST_LINES = 6000, MOST_LINE_CHARS = 4000;
  const say = (text) => { state.textContent = text; };
  let colour = "", bold = false, rest = "", dropped = 0, waiting = [], scheduled = false;

  const sequence = /\x1b(?:\[([0-9;?]*)[ -\/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -\/]*[0-~])/g;
  const control = /[\x00-\x08\x0b-\x1f\x7f]/g;

  function span(text, kind) {
    const element = document.createElement("span");
    if (kind) element.className = kind;
    element.textContent = text.replace(control, "");
    return element;
  }

  function rendered(raw) {
    let text = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    const back = text.lastIndexOf("\r");
    if (back >= 0) text = text.slice(back + 1);
    if (text.length > MOST_LINE_CHARS) text = `${text.slice(0, MOST_LINE_CHARS)} … ${text.length - MOST_LINE_CHARS} more characters`;
    const line = document.createElement("div");
    const stamp = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \| /.exec(text);
    if (stamp) {
      line.append(span(stamp[0].slice(11, 19) + "  ", "at"));
      line.title = stamp[0].slice(0, -3);
      text = text.slice(stamp[0].length);
    }
    const plain = text.replace(sequence, "");
    const kind = /^(TASK|PLAY|PLAY RECAP|PRE-RUN|RUN|POST-RUN|CLEANUP) ?[[:]?/.test(plain) ? "task" : /(\bfatal:|\bERROR!|"failed": true)/.test(plain) ? "bad" : "";
    const style = () => [kind, colour, bold ? "b" : ""].filter(Boolean).join(" ");
    let from = 0;
    for (const match of text.matchAll(sequence)) {
      if (match.index > from) line.append(span(text.slice(from, match.index), style()));
      from = match.index + match[0].length;
      if (match[2] !== "m") continue;
      for (const code of (match[1] || "0").split(";").map(Number)) {
        if (code === 0) { colour = ""; bold = false; }
        else if (code === 1) bold = true;
        else if (code === 22) bold = false;
        else if (code === 39) colour = "";
        else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) colour = `f${code % 10}`;
      }
    }
    line.append(span(text.slice(from), style()));
    if (!line.textContent) line.append(" ");
    return line;
  }

  function take(text) {
    rest += text;
    const pieces = rest.split("\n");
    rest = pieces.pop();
    if (rest.length > 1 << 20) { pieces.push(rest); rest = ""; }
    for (const piece of pieces) waiting.push(piece);
    if (waiting.length > MOST_LINES) { dropped += waiting.length - MOST_LINES; waiting = waiting.slice(-MOST_LINES); }
    if (!scheduled && waiting.length) { scheduled = true; requestAnimationFrame(flush); }
  }

  function flush() {
    scheduled = false;
    const fragment = document.createDocumentFragment();
    for (const piece of waiting) fragment.append(rendered(piece));
    waiting = [];
    lines.append(fragment);
    while (lines.childElementCount > MOST_LINES) { lines.firstElementChild.remove(); dropped += 1; }
    if (follow.checked) lines.scrollTop = lines.scrollHeight;
  }

  function end() {
    if (rest) { waiting.push(rest); rest = ""; flush(); }
  }

  lines.addEventListener("wheel", (event) => { if (event.deltaY < 0) follow.checked = false; }, { passive: true });
  lines.addEventListener("touchmove", () => { follow.checked = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40; }, { passive: true });
  follow.addEventListener("change", () => { if (follow.checked) lines.scrollTop = lines.scrollHeight; });

  const facts = () => document.querySelector(".facts").dataset;
  let streaming = false, stored = false, seen = false;

  function stream() {
    if (streaming) return;
    streaming = true;
    say("connecting");
    const url = new URL(box.dataset.stream, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.addEventListener("open", () => socket.send(JSON.stringify({ uuid: box.dataset.uuid, logfile: "console.log" })));
    socket.addEventListener("message", (event) => { if (!seen) { lines.replaceChildren(); seen = true; } say("live"); take(event.data); });
    socket.addEventListener("close", (event) => {
      streaming = false;
      end();
      if (event.code === 1000) say("the stream has ended");
      else say(event.reason === "Build did not start yet" ? "waiting for an executor" : event.reason || "not connected");
      if (facts().buildState !== "complete") setTimeout(look, event.code === 1000 ? 1500 : 1000);
      else if (!seen) look();
    });
  }

  async function load() {
    if (stored) return;
    stored = true;
    if (!facts().log) return say(seen ? "the stream has ended" : "no log is stored here");
    say("loading the stored log");
    const base = facts().log.endsWith("/") ? facts().log : `${facts().log}/`;
    const answer = await fetch(`${base}job-output.txt`).catch(() => null);
    if (!answer || !answer.ok) return say(seen ? "the stream has ended" : "no console was stored");
    lines.replaceChildren();
    dropped = 0;
    const reader = answer.body.getReader(), decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      take(decoder.decode(value, { stream: true }));
    }
    end();
    say(dropped ? `stored log, its last ${MOST_LINES} lines` : "stored log");
  }

  function look() {
    if (facts().buildState === "complete") load();
    else if (!seen || !streaming) { if (!seen) stream(); }
  }
  document.addEventListener("fresh", look);
  look();
})();

// Keeps a page fresh: a hint says which topic changed, the fragments of that topic are fetched again and laid over the
// old ones, so that nothing jumps. Without scripts the page is complete, only still.
"use strict";
(() => {
  const body = document.body;
  const skew = Number(body.dataset.now || 0) - Date.now() / 1000;
  const now = () => Date.now() / 1000 + skew;

  function duration(seconds) {
    const total = Math.max(0, Math.round(seconds));
    if (total < 60) return `${total} s`;
    const minutes = Math.floor(total / 60), rest = total % 60;
    if (minutes < 60) return rest && minutes < 10 ? `${minutes} min ${rest} s` : `${minutes} min`;
    const hours = Math.floor(minutes / 60);
    return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  }

  function moment(seconds) {
    const ago = now() - seconds;
    if (ago >= -5 && ago < 45) return "just now";
    if (ago >= 45 && ago < 3600) return `${Math.max(1, Math.round(ago / 60))} min ago`;
    const date = new Date((seconds - skew) * 1000), today = new Date();
    const clock = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    if (date.toDateString() === today.toDateString()) return clock;
    return `${date.toLocaleDateString([], { day: "numeric", month: "short" })} ${clock}`;
  }

  function tick(root = document) {
    for (const element of root.querySelectorAll("[data-start]")) {
      const elapsed = now() - Number(element.dataset.start);
      const estimate = Number(element.dataset.estimate || 0);
      if (element.classList.contains("fill")) {
        if (estimate) element.style.width = `${(Math.min(0.97, elapsed / estimate) * 100).toFixed(1)}%`;
      } else {
        const text = estimate && estimate > elapsed ? `${duration(estimate - elapsed)} left` : duration(elapsed);
        if (element.textContent !== text) element.textContent = text;
      }
    }
    for (const element of root.querySelectorAll("[data-moment]")) {
      const text = moment(Number(element.dataset.moment));
      if (element.textContent !== text) {
        element.textContent = text;
        element.title = new Date((Number(element.dataset.moment) - skew) * 1000).toLocaleString();
      }
    }
  }

  // Lay a new tree over an old one: what is the same stays the same element.
  function lay(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return void old.replaceWith(fresh);
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "style" && old.hasAttribute("data-own-style"))) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name === "style" && old.hasAttribute("data-own-style")) continue;
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (old.hasAttribute("data-start") || old.hasAttribute("data-moment")) {
      if (!old.classList.contains("fill")) return;
    }
    const named = new Map();
    for (const child of old.children) if (child.id) named.set(child.id, child);
    let place = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const twin = child.id ? named.get(child.id) : null;
      if (twin) {
        if (twin !== place) old.insertBefore(twin, place);
        else place = place.nextSibling;
        lay(twin, child);
      } else if (place && !place.id && !child.id) {
        const next = place.nextSibling;
        lay(place, child);
        place = next;
      } else {
        old.insertBefore(child, place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  const busy = new Set(), again = new Set();
  async function refresh(element) {
    if (busy.has(element)) return void again.add(element);
    busy.add(element);
    try {
      const key = element.dataset.key ? `/${encodeURIComponent(element.dataset.key)}` : "";
      const answer = await fetch(`${body.dataset.base}/fragment/${element.dataset.fragment}${key}`);
      if (answer.ok) {
        const shell = element.cloneNode(false);
        shell.innerHTML = await answer.text();
        lay(element, shell);
        tick(element);
        element.dispatchEvent(new CustomEvent("fresh", { bubbles: true }));
      }
    } catch {
      // The next hint, or the next quiet look, tries again.
    } finally {
      busy.delete(element);
      if (again.delete(element)) refresh(element);
    }
  }

  function changed(topics) {
    if (document.hidden) return void topics.forEach((topic) => missed.add(topic));
    for (const element of document.querySelectorAll("[data-fragment]")) {
      if (element.dataset.topics.split(" ").some((topic) => topics.has(topic))) refresh(element);
    }
  }
  const missed = new Set();
  const everything = () => new Set(["queues", "builds", "pool", "fleet", "config"]);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && missed.size) { changed(new Set(missed)); missed.clear(); }
  });

  tick();
  setInterval(tick, 1000);
  if (!body.dataset.events || !document.querySelector("[data-fragment]")) return;
  const pulse = document.getElementById("pulse");
  const say = (word, lost) => {
    pulse.hidden = false;
    pulse.classList.toggle("lost", lost);
    pulse.querySelector(".pulse-word").textContent = word;
  };
  let lost = false;
  const source = new EventSource(body.dataset.events);
  source.addEventListener("hello", () => { say("live", false); if (lost) changed(everything()); lost = false; });
  source.addEventListener("changed", (event) => changed(new Set(event.data.split(" "))));
  source.addEventListener("error", () => { lost = true; say("reconnecting", true); });
  setInterval(() => changed(everything()), 30000); // a hint may be lost; look now and then
})();

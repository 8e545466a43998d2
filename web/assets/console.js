"use strict";
// Renews the console every two seconds and counts down in between. Without this script the page reloads itself.
(() => {
  const live = document.getElementById("live");
  const lost = document.getElementById("lost");
  let ahead = 0; // of this machine's clock over the server's, in milliseconds

  const span = (seconds) => {
    const two = (n) => String(n).padStart(2, "0");
    const d = Math.floor(seconds / 86400), h = Math.floor(seconds / 3600) % 24, m = Math.floor(seconds / 60) % 60;
    if (d > 0) return `${d}d ${two(h)}h`;
    if (h > 0) return `${h}h ${two(m)}m`;
    if (m > 0) return `${m}m ${two(seconds % 60)}s`;
    return `${seconds}s`;
  };

  const tick = () => {
    for (const el of live.querySelectorAll("time")) {
      const seconds = Math.trunc((Date.parse(el.dateTime) - Date.now() + ahead) / 1000);
      el.textContent = seconds < 0 ? `${span(-seconds)} ago` : `in ${span(seconds)}`;
      el.classList.toggle("soon", seconds >= 0 && seconds < 60);
    }
  };

  const sync = () => { ahead = Date.now() - Number(document.getElementById("now").dataset.now); };

  const renew = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(live.dataset.live, { signal: AbortSignal.timeout(5000) });
      if (answer.status === 403) return location.reload(); // the session has ended, and the page says so
      const text = await answer.text();
      if (!text.includes('id="now"')) throw new Error(`status ${answer.status}`);
      // Not under the reader's hands: a selection or a focused link would be lost.
      const old = live.querySelector(".scroll"), focused = document.activeElement;
      if ((focused === old || !live.contains(focused)) && getSelection().isCollapsed) {
        const left = old?.scrollLeft ?? 0;
        live.innerHTML = text;
        const table = live.querySelector(".scroll");
        if (table) table.scrollLeft = left;
        if (old && focused === old) table?.focus({ preventScroll: true });
        sync();
        tick();
      }
      lost.hidden = true;
    } catch {
      if (lost.hidden) document.getElementById("lost-since").textContent = live.querySelector(".clock").textContent;
      lost.hidden = false;
    }
  };

  const loop = async () => { await renew(); setTimeout(loop, 2000); };

  sync();
  tick();
  setInterval(tick, 1000);
  setTimeout(loop, 2000);
  document.addEventListener("visibilitychange", renew);
})();

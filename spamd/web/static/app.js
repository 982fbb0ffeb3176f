// What every page does when JavaScript is there: live figures, progress, and "/" for search.
// Nothing here is needed to use the pages.

export function toast(text) {
  const box = document.querySelector(".toast");
  if (!box) return;
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { box.hidden = true; }, 5000);
}

export async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(`/api/v1${path}`, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.error.title} ${answer.error.hint}`.trim());
  return answer;
}

function typing(target) {
  return target instanceof HTMLElement && target.closest("input, select, textarea, [contenteditable]") !== null;
}

export function onKey(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const deed = keys[event.key.toLowerCase()];
    if (deed) {
      event.preventDefault();
      deed();
    }
  });
}

onKey({
  "/": () => {
    const field = document.querySelector("[data-search]");
    if (field) field.focus();
    else location.assign("/search");
  },
});

function showProgress(data) {
  const key = data.account ? `${data.kind}-${data.account}` : data.kind;
  const box = [...document.querySelectorAll("[data-progress]")].find((one) => one.dataset.progress === key);
  if (!box) return;
  box.querySelector("[data-part=text]").textContent = data.error || data.text;
  const bar = box.querySelector("progress");
  if (data.total > 0) {
    bar.max = data.total;
    bar.value = data.done;
  }
  if (data.finished) setTimeout(() => location.reload(), 800);
}

let waiting = null;

function refreshFigures() {
  // A flood of mail must not become a flood of requests: at most one a second.
  if (waiting !== null || !document.querySelector("[data-live=headline]")) return;
  waiting = setTimeout(async () => {
    waiting = null;
    try {
      const status = await ask("GET", "/status");
      const figures = { headline: status.headline };
      for (const name of ["moved", "keep", "unsure", "corrected"]) {
        figures[name] = (status.today[name] || 0).toLocaleString("en");
      }
      for (const [name, text] of Object.entries(figures)) {
        const place = document.querySelector(`[data-live=${name}]`);
        if (place) place.textContent = text;
      }
    } catch { /* the daemon is stopping: the page stays as it is */ }
  }, 1000);
}

let stream = null;

// Browsers open six connections to one host: a page in the background must not hold one.
function listen() {
  if (document.hidden) {
    stream?.close();
    stream = null;
  } else if (stream === null) {
    stream = new EventSource("/api/v1/stream");
    const heard = (event) => JSON.parse(event.data).data;
    stream.addEventListener("progress", (event) => showProgress(heard(event)));
    stream.addEventListener("verdict", refreshFigures);
    stream.addEventListener("state", refreshFigures);
  }
}

if (document.querySelector("[data-live=headline], [data-progress]")) {
  listen();
  document.addEventListener("visibilitychange", () => {
    listen();
    refreshFigures();
  });
  addEventListener("pagehide", () => stream?.close());
}

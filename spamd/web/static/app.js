// What every page does when JavaScript is there: news by themselves, progress, and "/" for search.
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
  if (!box) {
    if (document.querySelector("[data-live-part=notices]")) news(); // it has begun since
    return;
  }
  box.querySelector("[data-part=text]").textContent = data.error || data.text;
  const bar = box.querySelector("progress");
  if (data.total > 0) {
    bar.max = data.total;
    bar.value = data.done;
  }
  if (data.finished) setTimeout(() => location.reload(), 800);
}

// How much waits for review, beside the page's name. 100: that many, or more.
export function showWaiting(count) {
  const badge = document.querySelector("[data-live=review]");
  if (!badge) return;
  badge.firstElementChild.textContent = count < 100 ? String(count) : "99+";
  badge.hidden = count === 0;
}

// A part of the page that the person is about to use must not move under their hand.
function inUse(part) {
  return part.dataset.livePart === "list" && (part.matches(":hover") || part.contains(document.activeElement));
}

function mailNumbers(part) {
  return [...part.querySelectorAll("[data-mail]")].map((one) => one.dataset.mail);
}

function showParts(fresh) {
  for (const part of document.querySelectorAll("[data-live-part]")) {
    const now = fresh.querySelector(`[data-live-part=${part.dataset.livePart}]`);
    if (!now) continue;
    const said = document.querySelector("[data-live=more]");
    if (!inUse(part)) {
      if (part.innerHTML !== now.innerHTML) part.replaceChildren(...document.adoptNode(now).childNodes);
      if (part.dataset.livePart === "list" && said) said.hidden = true;
      continue;
    }
    const known = new Set(mailNumbers(part));
    const added = mailNumbers(now).filter((one) => !known.has(one)).length;
    if (added && said) {
      said.textContent = added === 1 ? "1 new mail: show it" : `${added} new mails: show them`;
      said.hidden = false;
      said.onclick = () => {
        part.replaceChildren(...document.adoptNode(now).childNodes);
        said.hidden = true;
      };
    }
  }
}

async function lookAgain() {
  try {
    if (document.querySelector("[data-live-part]")) {
      const response = await fetch(location.href, { headers: { "X-Look-Again": "yes" } });
      if (!response.ok) return;
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      showParts(fresh);
      const badge = fresh.querySelector("[data-live=review]");
      showWaiting(badge.hidden ? 0 : Number.parseInt(badge.textContent, 10) || 0);
    } else {
      showWaiting((await ask("GET", "/status")).review_waiting);
    }
    document.dispatchEvent(new Event("looked-again"));
  } catch { /* the daemon is stopping: the page stays as it is */ }
}

let soon = null;
let heardMore = false;

function news() {
  heardMore = true;
  if (soon === null) lookAfter(1000);
}

// A flood of mail must not become a flood of requests: one in two seconds, and one after the last, as the daemon keeps
// slow answers for two seconds.
function lookAfter(milliseconds) {
  soon = setTimeout(async () => {
    soon = null;
    const once = heardMore;
    heardMore = false;
    await lookAgain();
    if (once && soon === null) lookAfter(2500);
  }, milliseconds);
}

let stream = null;
let silence = null;

// A stream that breaks off is tried again by the browser, and a filter that ends takes five seconds for it. One that has
// begun anew is at another port.
function answers(does) {
  const box = document.querySelector("[data-live=gone]");
  if (!box) return;
  clearTimeout(silence);
  silence = null;
  box.hidden = does;
}

// Browsers open six connections to one host: a page in the background must not hold one.
function listen() {
  if (document.hidden) {
    stream?.close();
    stream = null;
    clearTimeout(silence);
    silence = null;
  } else if (stream === null) {
    stream = new EventSource("/api/v1/stream");
    const heard = (event) => JSON.parse(event.data).data;
    stream.addEventListener("progress", (event) => showProgress(heard(event)));
    stream.addEventListener("verdict", () => news());
    stream.addEventListener("state", () => news());
    stream.addEventListener("error", () => { silence ??= setTimeout(() => answers(false), 5000); });
    stream.addEventListener("open", () => answers(true));
    // What happened between the drawing of the page and the stream's beginning, or while it was broken off.
    stream.addEventListener("open", () => news());
  }
}

listen();
document.addEventListener("visibilitychange", () => {
  listen();
  if (!document.hidden) news();
});
addEventListener("pagehide", () => {
  stream?.close();
  stream = null;
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return; // as it was left: what has happened since is missing
  listen();
  news();
});

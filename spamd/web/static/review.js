// Review with one key per answer and the next question at once. Without this script every question has its buttons.
import { ask, onKey, showWaiting, toast } from "/static/app.js";

const list = document.querySelector(".review");

// The answers of this tab, so that the last one can be taken back after the person went on to another page.
const given = {
  read: () => JSON.parse(sessionStorage.getItem("answers") ?? "[]"),
  add(id) { sessionStorage.setItem("answers", JSON.stringify([...given.read(), id].slice(-100))); },
  drop(id) { sessionStorage.setItem("answers", JSON.stringify(given.read().filter((one) => one !== id))); },
};

async function takeBackEarlier() {
  const id = given.read().at(-1);
  if (id === undefined) {
    toast("There is no answer to take back.");
    return;
  }
  given.drop(id);
  try {
    await ask("POST", `/judgements/${id}/unanswer`);
    sessionStorage.setItem("question", id);
    location.reload();
  } catch (error) {
    toast(error.message);
  }
}

if (list) {
  const cards = [...list.children];
  let place = 0;
  const answered = [];
  let left = Number.parseInt(document.querySelector("[data-live=review-left]")?.textContent ?? "", 10);

  list.classList.add("one");
  document.querySelector(".keys").classList.add("on");

  const current = () => cards[place];

  function show() {
    for (const card of cards) card.classList.remove("now");
    if (place >= cards.length) {
      // The page's share is done: the server knows whether there is more.
      Promise.allSettled(answered.map((one) => one.sent)).then(() => location.reload());
      return;
    }
    current().classList.add("now");
    current().querySelector("h2").focus();
  }

  function count(by) {
    if (Number.isNaN(left)) return;
    left += by;
    document.querySelector("[data-live=review-left]").textContent = String(left);
    showWaiting(left);
  }

  function answer(label) {
    const card = current();
    if (!card) return;
    const id = card.dataset.id;
    const sent = ask("POST", `/judgements/${id}/label`, { label });
    const one = { card, place, sent };
    answered.push(one);
    given.add(id);
    count(-1);
    place += 1;
    show();
    sent.then((done) => toast(done.text), (error) => {
      // Not said, so not answered: it comes again at the end.
      if (answered.includes(one)) answered.splice(answered.indexOf(one), 1);
      given.drop(id);
      cards.push(card);
      count(1);
      toast(error.message);
    });
  }

  function later() {
    if (!current()) return;
    place += 1;
    show();
  }

  async function takeBack() {
    const last = answered.pop();
    if (!last) {
      await takeBackEarlier();
      return;
    }
    try {
      await last.sent;
    } catch {
      return; // it did not arrive: that was told, and it is asked again
    }
    try {
      await ask("POST", `/judgements/${last.card.dataset.id}/unanswer`);
    } catch (error) {
      answered.push(last); // so that it can be tried again
      toast(error.message);
      return;
    }
    given.drop(last.card.dataset.id);
    place = last.place;
    count(1);
    show();
    toast("Taken back.");
  }

  for (const card of cards) {
    const skip = card.querySelector(".later");
    skip.hidden = false;
    skip.addEventListener("click", later);
    for (const form of card.querySelectorAll("form")) {
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        answer(form.elements.namedItem("label").value);
      });
    }
  }

  onKey({
    j: () => answer("spam"),
    n: () => answer("ham"),
    s: later,
    w: () => current()?.querySelector("a.button").click(),
    u: takeBack,
  });
  const returned = sessionStorage.getItem("question");
  sessionStorage.removeItem("question");
  if (returned !== null) {
    place = Math.max(0, cards.findIndex((card) => card.dataset.id === returned));
    toast("Taken back.");
  }
  // Restored as it was left: what was answered meanwhile is no question any more.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  show();
} else {
  onKey({ u: takeBackEarlier });
  document.addEventListener("looked-again", () => {
    const badge = document.querySelector("[data-live=review]");
    if (badge && !badge.hidden) location.reload();
  });
}

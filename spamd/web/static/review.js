// Review with one key per answer and the next question at once. Without this script every question has its buttons.
import { ask, onKey, toast } from "/static/app.js";

const list = document.querySelector(".review");

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
  }

  function answer(label) {
    const card = current();
    if (!card) return;
    const sent = ask("POST", `/judgements/${card.dataset.id}/label`, { label });
    answered.push({ card, place, sent });
    count(-1);
    place += 1;
    show();
    sent.then((done) => toast(done.text), (error) => toast(error.message));
  }

  function later() {
    if (!current()) return;
    place += 1;
    show();
  }

  async function takeBack() {
    const last = answered.pop();
    if (!last) return;
    try {
      await last.sent;
      await ask("POST", `/judgements/${last.card.dataset.id}/unanswer`);
      place = last.place;
      count(1);
      show();
      toast("Taken back.");
    } catch (error) {
      toast(error.message);
    }
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
  show();
}

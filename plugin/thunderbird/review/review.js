// @ts-check
// Mails that wait for the person's word, and what was lately filed as junk.

import * as api from "../lib/api.js";
import { byId, make, translatePage } from "../lib/page.js";
import { percent, say, translated, troubleSentences } from "../lib/words.js";

const MOST_WAITING = 50;
const MOST_MOVED = 20;

translatePage();
document.title = say("reviewTitle");
byId("options").addEventListener("click", () => browser.runtime.openOptionsPage());
document.addEventListener("visibilitychange", () => document.hidden || load());
void load();

async function load() {
  try {
    const [items, junk] = await Promise.all([api.review(MOST_WAITING), api.recentJunk(MOST_MOVED)]);
    byId("trouble").classList.add("hidden");
    byId("waiting").replaceChildren(...items.map((item) => row(item.judgement, causeOf(item), ["spam", "ham"])));
    const moved = junk.filter((mail) => mail.moved && mail.label === null);
    byId("moved").replaceChildren(...moved.map((mail) => row(mail, "", ["ham"])));
    byId("moved-section").classList.toggle("hidden", moved.length === 0);
    counted();
  } catch (error) {
    fail(/** @type {Error} */ (error));
  }
}

function counted() {
  const left = byId("waiting").childElementCount;
  byId("state").textContent = left ? say("waitingCount", String(left)) : say("nothingWaits");
}

/** @param {api.ReviewItem} item */
function causeOf(item) {
  return translated("cause", item.cause) || item.question;
}

/**
 * @param {api.Judgement} mail
 * @param {string} cause
 * @param {api.Label[]} labels which answers make sense
 */
function row(mail, cause, labels) {
  const line = make("li", "", "mail");
  line.dataset.judgement = String(mail.id);
  const what = make("div", "", "what");
  const when = new Date(mail.at * 1000).toLocaleString(browser.i18n.getUILanguage());
  what.append(
    make("div", mail.subject || say("noSubject")),
    make("div", `${mail.sender || say("noSender")} · ${when} · ${say("spamProbability", percent(mail.score.probability))}`, "quiet"),
  );
  if (cause) what.append(make("div", cause, "quiet cause"));
  line.append(what);
  for (const label of labels) {
    const button = /** @type {HTMLButtonElement} */ (
      make("button", say(label === "spam" ? "junk" : "notJunk"), label === "spam" ? "junk" : "good")
    );
    button.addEventListener("click", () => answer(line, mail, label));
    line.append(button);
  }
  return line;
}

/** @param {HTMLElement} line @param {api.Judgement} mail @param {api.Label} label */
async function answer(line, mail, label) {
  for (const button of line.querySelectorAll("button")) button.disabled = true;
  try {
    await api.teach(mail.id, label);
    const next = line.nextElementSibling ?? line.previousElementSibling;
    line.remove();
    next?.querySelector("button")?.focus();
    counted();
    void browser.runtime.sendMessage({ changed: true }).catch(() => {});
  } catch (error) {
    for (const button of line.querySelectorAll("button")) button.disabled = false;
    fail(/** @type {Error} */ (error));
  }
}

/** @param {Error} error */
function fail(error) {
  const { title, hint } = troubleSentences(error);
  byId("trouble-title").textContent = title;
  byId("trouble-hint").textContent = hint;
  byId("trouble").classList.remove("hidden");
  byId("state").textContent = "";
}

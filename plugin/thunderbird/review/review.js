// @ts-check
// Mails that wait for the person's word, and what was lately filed as junk.

import * as api from "../lib/api.js";
import { known, listOf } from "../lib/mail.js";
import { byId, make, translatePage } from "../lib/page.js";
import { percent, say, translated, troubleSentences } from "../lib/words.js";

const MOST_WAITING = 50;
const MOST_MOVED = 20;
const SECONDS = 30; // between looks while the page is seen

/** What the lists hold now. */
let shown = "";

translatePage();
document.title = say("reviewTitle");
byId("options").addEventListener("click", () => browser.runtime.openOptionsPage());
byId("pages").addEventListener("click", () => api.openPages().catch(fail));
document.addEventListener("visibilitychange", look);
setInterval(look, SECONDS * 1000);
void load();

function look() {
  if (!document.hidden) void load();
}

async function load() {
  try {
    const [items, junk, { needs_person: needs }] = await Promise.all([
      api.review(MOST_WAITING),
      api.recentJunk(MOST_MOVED),
      api.status(),
    ]);
    byId("trouble").classList.add("hidden");
    byId("needs").classList.toggle("hidden", !needs?.length);
    byId("needs-what").replaceChildren(...(needs ?? []).map((/** @type {any} */ { text }) => make("li", text)));
    const moved = junk.filter((mail) => mail.moved && mail.label === null);
    const found = JSON.stringify([items.map(({ judgement, cause }) => [judgement.id, cause]), moved.map(({ id }) => id)]);
    if (found !== shown || !byId("state").textContent) {
      // Not under the person's hand or reading voice, unless there is something new.
      shown = found;
      byId("waiting").replaceChildren(...items.map((item) => row(item.judgement, causeOf(item), ["spam", "ham"])));
      byId("moved").replaceChildren(...moved.map((mail) => row(mail, "", ["ham"])));
      byId("moved-section").classList.toggle("hidden", moved.length === 0);
    }
    counted();
  } catch (error) {
    shown = "";
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
  const subject = /** @type {HTMLButtonElement} */ (make("button", mail.subject || say("noSubject"), "link"));
  subject.title = say("openMail");
  subject.addEventListener("click", () => openMail(mail).catch(() => false).then((found) => {
    if (!found) byId("state").textContent = say("mailNotFound");
  }));
  what.append(
    subject,
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

/**
 * In Thunderbird, found by Message-ID and never by subject: the one that is this mail, for anybody can copy the other.
 * @param {api.Judgement} judgement
 * @returns {Promise<boolean>} false: it is not in Thunderbird
 */
async function openMail(judgement) {
  const { message_id: headerMessageId } = await api.whereabouts(judgement.id);
  if (!headerMessageId) return false;
  for (const header of listOf(await browser.messages.query({ headerMessageId }))) {
    if ((await known(header))?.id !== judgement.id) continue;
    await browser.messageDisplay.open({ messageId: header.id, location: "tab", active: true });
    return true;
  }
  return false;
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

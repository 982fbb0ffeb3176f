// @ts-check
// The popup of the button on an open mail: verdict, reasons, and the person's word.

import * as api from "../lib/api.js";
import { NotConnected } from "../lib/connection.js";
import { accountOf, beginning, known, moveByHand, openIn } from "../lib/mail.js";
import { byId, make, translatePage } from "../lib/page.js";
import { decisionSentence, percent, reasonView, say, translated, troubleSentences, verdictOf } from "../lib/words.js";

const MOST_REASONS = 8;

/** @type {any} */ let mail = null;
/** @type {api.Judgement | null} */ let judgement = null;
/** @type {number | undefined} */ let tabId;

translatePage();
byId("junk").addEventListener("click", () => tell("spam"));
byId("good").addEventListener("click", () => tell("ham"));
byId("options").addEventListener("click", async () => {
  await browser.runtime.openOptionsPage();
  window.close();
});
void open();

async function open() {
  const [tab] = await browser.tabs.query({ active: true, currentWindow: true });
  tabId = tab?.id;
  const messages = tabId === undefined ? [] : await openIn(tab);
  if (messages.length !== 1) {
    write("", say("oneMailPlease"));
    return;
  }
  [mail] = messages;
  showButtons(null);
  try {
    judgement = await known(mail);
    await (judgement ? judged(judgement) : unjudged());
  } catch (error) {
    fail(/** @type {Error} */ (error));
    // What cannot be taught now is not offered.
    if (error instanceof NotConnected) for (const id of ["junk", "good"]) byId(id).classList.add("hidden");
  }
}

/** @param {api.Judgement} found */
async function judged(found) {
  const verdict = verdictOf(found);
  write(verdict, found.label ? say(found.label === "spam" ? "toldJunk" : "toldGood") : decisionSentence(found.decision));
  byId("verdict").textContent = `${translated("verdict", verdict)} · ${say("spamProbability", percent(found.score.probability))}`;
  showButtons(found.label);
  const why = await api.why(found.id);
  showReasons(why);
}

/** A mail that the daemon has not judged: an old one, or in a folder that it does not watch. */
async function unjudged() {
  write("", say("notJudged"));
  const why = await api.tryMail(await beginning(mail.id));
  byId("verdict").textContent = `${translated("verdict", why.verdict)} · ${say("spamProbability", percent(why.probability))}`;
  byId("verdict").className = `verdict ${why.verdict}`;
  showReasons(why);
}

/** @param {api.Why} why */
function showReasons(why) {
  const strongest = Math.max(0, ...why.reasons.map((reason) => Math.abs(reason.contribution)));
  const rows = why.reasons.slice(0, MOST_REASONS).map((reason) => {
    const view = reasonView(reason, strongest);
    const row = make("li");
    const bar = make("span", "", `bar ${view.towards}`);
    const filled = make("span");
    filled.style.width = `${Math.round(view.strength * 100)}%`;
    bar.append(filled);
    bar.setAttribute("role", "img");
    bar.title = bar.ariaLabel = say(view.towards === "spam" ? "towardsSpam" : "towardsHam");
    row.append(make("span", view.kind, "kind"), make("span", view.text, "text"), bar);
    return row;
  });
  byId("reasons").replaceChildren(...rows);
  byId("note").textContent = why.missing ? say("wordsMissing") : "";
}

/** @param {api.Label | null} label what the person said already */
function showButtons(label) {
  byId("junk").classList.toggle("hidden", label === "spam");
  byId("good").classList.toggle("hidden", label === "ham");
}

/** @param {api.Label} label */
async function tell(label) {
  for (const id of ["junk", "good"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = true;
  try {
    const answered = judgement ? await api.teach(judgement.id, label) : await teachUnjudged(label);
    let moved = answered?.move ?? "none";
    // What is learned is learned, also where Thunderbird may not move the mail (a file, a read-only folder).
    if (moved === "none") moved = await moveByHand(mail, label).catch(() => "none");
    judgement = answered?.judgement ?? null;
    write(label === "spam" ? "junk" : "keep", say(label === "spam" ? "toldJunk" : "toldGood"));
    byId("verdict").textContent = translated("verdict", label === "spam" ? "junk" : "keep");
    byId("note").textContent = translated("moved", moved);
    byId("reasons").replaceChildren();
    showButtons(label);
    void browser.runtime.sendMessage({ changed: true, tabId }).catch(() => {});
  } catch (error) {
    fail(/** @type {Error} */ (error));
  } finally {
    for (const id of ["junk", "good"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = false;
    document.body.dataset.done = label;
  }
}

/** The daemon cannot see that a mail it never judged was moved: it is shown the mail. @param {api.Label} label */
async function teachUnjudged(label) {
  await api.teachMail(await beginning(mail.id), label, await accountOf(mail));
  return null;
}

/** @param {string} verdict @param {string} sentence */
function write(verdict, sentence) {
  byId("verdict").textContent = "";
  byId("verdict").className = `verdict ${verdict}`;
  byId("sentence").textContent = sentence;
}

/** @param {Error} error */
function fail(error) {
  const { title, hint } = troubleSentences(error);
  write("", title);
  byId("sentence").className = "trouble";
  byId("note").textContent = hint;
  byId("options").classList.toggle("hidden", !(error instanceof NotConnected));
}

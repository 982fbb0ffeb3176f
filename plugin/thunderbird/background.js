// @ts-check
// Wakes for an opened mail, a tick, or a page of ours. Every listener is registered before the first await: Thunderbird
// stops this page when it is idle and starts it anew for the next event.

import * as api from "./lib/api.js";
import { NotConnected } from "./lib/connection.js";
import { known, listOf, openIn } from "./lib/mail.js";
import { buttonOf, say, troubleSentences } from "./lib/words.js";

const SPACE = "spamd_review";
const TICK = "look";

browser.messageDisplay.onMessagesDisplayed.addListener((tab, displayed) => show(tab.id ?? -1, async () => listOf(displayed)));
// Thunderbird does not always tell that a mail was displayed (its loading was overtaken by another): the button would
// keep the verdict on the mail before. A choice in the list is always told.
browser.mailTabs.onSelectedMessagesChanged.addListener((tab, chosen) => show(tab.id ?? -1, async () => listOf(chosen)));
browser.alarms.onAlarm.addListener(({ name }) => (name === TICK ? count() : undefined));
browser.action.onClicked.addListener(openReview);
browser.runtime.onMessage.addListener(heard);
browser.runtime.onInstalled.addListener(installed);
browser.runtime.onStartup.addListener(begin);

/** Also after the add-on was switched off and on, when neither of the two events comes. */
void begin();

async function begin() {
  browser.alarms.create(TICK, { periodInMinutes: 1 });
  const own = await browser.spaces.query({ isSelfOwned: true, name: SPACE });
  if (!own.length) {
    await browser.spaces
      .create(SPACE, "/review/review.html", { title: say("reviewTitle"), defaultIcons: "/icons/spamd.svg" })
      .catch(() => {}); // two beginnings at once: the other one made it
  }
  await count();
}

/** The first thing a new user sees: is it connected, and what to switch off in Thunderbird. @param {any} details */
async function installed({ reason }) {
  await begin();
  if (reason === "install") await browser.runtime.openOptionsPage();
}

async function openReview() {
  const [space] = await browser.spaces.query({ isSelfOwned: true, name: SPACE });
  if (space) await browser.spaces.open(space.id);
  else await browser.tabs.create({ url: "/review/review.html" });
}

/** Which look is the newest in a tab: an answer about the mail before must not be painted over the next one's. */
const looks = new Map();

/** Milliseconds until the verdict on the mail before is taken off, when the next one's is not there. */
const SLOW = 300;

/** Seconds. A mail may be opened before the daemon has judged it, or while that is being started anew. */
const AGAIN = [2, 5, 15];

/**
 * The verdict on the button of an opened mail.
 * @param {number} tabId
 * @param {() => Promise<any[]>} opened which mails are
 * @param {number} [tries] before this one
 */
async function show(tabId, opened, tries = 0) {
  const look = (looks.get(tabId) ?? 0) + 1;
  looks.set(tabId, look);
  const slow = setTimeout(() => {
    if (looks.get(tabId) === look) void paint(tabId, { ...buttonOf(null), title: say("looking") });
  }, SLOW);
  let button;
  let settled = true;
  try {
    const messages = await opened();
    if (messages.length !== 1) {
      button = { ...buttonOf(null), title: say("buttonTitle") };
    } else {
      const judgement = await known(messages[0]);
      button = buttonOf(judgement);
      settled = judgement !== null;
    }
  } catch (error) {
    const { title } = troubleSentences(/** @type {Error} */ (error));
    const lost = error instanceof NotConnected;
    button = { ...buttonOf(null), badge: lost ? "×" : "", title };
    settled = !lost;
    if (lost && !tries) void count(); // its number is of before
  }
  clearTimeout(slow);
  if (looks.get(tabId) !== look) return;
  await paint(tabId, button);
  if (settled || tries >= AGAIN.length) return;
  setTimeout(() => {
    if (looks.get(tabId) === look) void show(tabId, opened, tries + 1);
  }, AGAIN[tries] * 1000);
}

/** The daemon is back: the mails that are open now can be looked up. */
async function showAll() {
  for (const tab of await browser.tabs.query({})) {
    if (tab.id === undefined || !["mail", "messageDisplay"].includes(tab.type ?? "")) continue;
    await show(tab.id, () => openIn(tab));
  }
}

/** @param {number} tabId @param {{icon: string, badge: string, colour: string, title: string}} button */
async function paint(tabId, button) {
  const action = browser.messageDisplayAction;
  try {
    await Promise.all([
      action.setIcon({ tabId, path: `/${button.icon}` }),
      action.setTitle({ tabId, title: button.title }),
      action.setBadgeText({ tabId, text: button.badge }),
      action.setBadgeBackgroundColor({ tabId, color: button.colour }),
    ]);
  } catch {
    // The tab was closed meanwhile.
  }
}

/** How many wait for review, on the toolbar button and the space. */
async function count() {
  let text = "";
  let title = say("reviewTitle");
  try {
    const { review_waiting: waiting, needs_person: needs } = await api.status();
    if (needs?.length) [text, title] = ["!", say("needsPerson")];
    else if (waiting) text = waiting >= 100 ? "99+" : String(waiting);
    if ((await browser.storage.session.get("lost")).lost) {
      await browser.storage.session.remove("lost");
      void showAll();
    }
  } catch (error) {
    await browser.storage.session.set({ lost: true });
    text = "×";
    title = troubleSentences(/** @type {Error} */ (error)).title;
  }
  await browser.action.setBadgeText({ text });
  await browser.action.setTitle({ title });
  await browser.action.setBadgeBackgroundColor({ color: text === "×" || text === "!" ? "#b23a3a" : "#b8860b" });
  const [space] = await browser.spaces.query({ isSelfOwned: true, name: SPACE });
  if (space) await browser.spaces.update(space.id, { badgeText: text, badgeBackgroundColor: "#b8860b", title });
}

/** From our own pages: something was taught, or the connection changed. @param {any} message */
async function heard(message) {
  if (message?.changed !== true) return;
  if (Number.isInteger(message.tabId)) {
    const tab = await browser.tabs.get(message.tabId).catch(() => null);
    if (tab) await show(message.tabId, () => openIn(tab));
  }
  await count();
}

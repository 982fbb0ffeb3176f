// @ts-check
// Wakes for an opened mail, a tick, or a page of ours. Every listener is registered before the first await: Thunderbird
// stops this page when it is idle and starts it anew for the next event.

import * as api from "./lib/api.js";
import { NotConnected } from "./lib/connection.js";
import { known, listOf } from "./lib/mail.js";
import { buttonOf, say, troubleSentences } from "./lib/words.js";

const SPACE = "spamd_review";
const TICK = "look";

browser.messageDisplay.onMessagesDisplayed.addListener((tab, displayed) => show(tab.id ?? -1, listOf(displayed)));
browser.alarms.onAlarm.addListener(({ name }) => (name === TICK ? count() : undefined));
browser.action.onClicked.addListener(openReview);
browser.runtime.onMessage.addListener(heard);
browser.runtime.onInstalled.addListener(begin);
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

async function openReview() {
  const [space] = await browser.spaces.query({ isSelfOwned: true, name: SPACE });
  if (space) await browser.spaces.open(space.id);
  else await browser.tabs.create({ url: "/review/review.html" });
}

/** Which look is the newest in a tab: an answer about the mail before must not be painted over the next one's. */
const looks = new Map();

/**
 * The verdict on the button of an opened mail.
 * @param {number} tabId
 * @param {any[]} messages
 */
async function show(tabId, messages) {
  const look = (looks.get(tabId) ?? 0) + 1;
  looks.set(tabId, look);
  let button;
  if (messages.length !== 1) {
    button = { ...buttonOf(null), title: say("buttonTitle") };
  } else {
    try {
      button = buttonOf(await known(messages[0]));
    } catch (error) {
      const { title } = troubleSentences(/** @type {Error} */ (error));
      button = { ...buttonOf(null), badge: error instanceof NotConnected ? "×" : "", title };
    }
  }
  if (looks.get(tabId) === look) await paint(tabId, button);
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
  } catch (error) {
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
    await show(message.tabId, listOf(await browser.messageDisplay.getDisplayedMessages(message.tabId)));
  }
  await count();
}

// @ts-check
// What the popup, the review tab and the options page share.

import { say } from "./words.js";

/** Put the texts of _locales into elements with data-say; language and direction onto the page. */
export function translatePage() {
  document.documentElement.lang = browser.i18n.getUILanguage();
  document.documentElement.dir = say("@@bidi_dir") === "rtl" ? "rtl" : "ltr";
  for (const element of document.querySelectorAll("[data-say]")) {
    element.textContent = say(/** @type {HTMLElement} */ (element).dataset.say ?? "");
  }
}

/** @template {HTMLElement} T @param {string} id @returns {T} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return /** @type {T} */ (found);
}

/**
 * An element with text (never HTML: it may come from a mail).
 * @param {string} tag @param {string} [text] @param {string} [className]
 */
export function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

// @ts-check
// How the connection is, what waits for the person, and what to switch off in Thunderbird.

import * as api from "../lib/api.js";
import { find, forget, paste } from "../lib/connection.js";
import { byId, make, translatePage } from "../lib/page.js";
import { release, say, translated, troubleSentences } from "../lib/words.js";

/** Phases in which an account does nothing until the person does something. */
const WAITS = new Set(["brake", "sign-in", "error"]);

translatePage();
document.title = say("optionsTitle");
byId("again").addEventListener("click", look);
byId("pages").addEventListener("click", () => api.openPages().catch(look));
byId("save").addEventListener("click", save);
void look();

async function look() {
  await forget();
  byId("pages").classList.add("hidden");
  try {
    const status = await api.status();
    const { way } = await find();
    byId("state").textContent = say("connected", String(status.version), say(way === "host" ? "wayHost" : "wayPasted"));
    byId("state").className = "";
    const { version } = browser.runtime.getManifest();
    const same = release(String(status.version)) === release(version);
    byId("state-hint").textContent = same ? "" : say("otherVersion", version);
    byId("pages").classList.remove("hidden");
    byId("accounts").replaceChildren(...status.accounts.map(accountRow));
    if (!status.accounts.length) byId("accounts").append(make("li", say("noAccounts"), "quiet"));
  } catch (error) {
    const { title, hint } = troubleSentences(/** @type {Error} */ (error));
    byId("state").textContent = title;
    byId("state").className = "trouble";
    byId("state-hint").textContent = hint;
    byId("accounts").replaceChildren();
  }
  document.body.dataset.looked = "yes";
}

/** @param {any} view */
function accountRow({ account, state, headline }) {
  const line = make("li", "", "mail");
  const what = make("div", "", "what");
  what.append(make("div", account.name));
  const waits = WAITS.has(state.phase);
  const phase =
    (state.phase === "watching" && translated("mode", state.mode)) || translated("phase", state.phase) || state.phase;
  const todo = waits ? translated("todo", state.phase) : "";
  what.append(make("div", [phase, todo].filter(Boolean).join(". "), waits ? "cause trouble" : "quiet cause"));
  if (waits) {
    const told = make("div", state.detail || headline, "quiet cause");
    told.lang = "en"; // the daemon's own words
    what.append(told);
  }
  line.append(what);
  if (state.phase === "brake") {
    const button = /** @type {HTMLButtonElement} */ (make("button", say("goOn")));
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await api.goOn(account.name);
      } finally {
        await look();
      }
    });
    line.append(button);
  }
  return line;
}

async function save() {
  const field = /** @type {HTMLInputElement} */ (byId("pasted"));
  const understood = await paste(field.value);
  byId("paste-answer").textContent = say(understood ? "pasteSaved" : "pasteWrong");
  if (understood) field.value = "";
  await look();
  void browser.runtime.sendMessage({ changed: true }).catch(() => {});
}

// @ts-check
// Where the daemon is and how to be let in: from the native-messaging host, else from what the person pasted.

/** @typedef {{port: number, token: string, version: string, way: "host" | "pasted"}} Connection */
/** @typedef {"no-host" | "not-running" | "pasted-wrong" | "unreachable"} Trouble */

export const HOST = "org.spamd.desktop";

/** The daemon cannot be asked. `trouble` says why, in a word that _locales knows. */
export class NotConnected extends Error {
  /** @param {Trouble} trouble @param {string} [detail] */
  constructor(trouble, detail = "") {
    super(detail || trouble);
    this.trouble = trouble;
    this.detail = detail;
  }
}

/**
 * "4711:token", as `spamdctl thunderbird token` prints it.
 * @param {string} text
 * @returns {{port: number, token: string} | null}
 */
export function readPasted(text) {
  const found = /^(\d{1,5}):([\w-]{16,200})$/.exec(text.trim());
  if (!found) return null;
  const port = Number(found[1]);
  return port > 0 && port < 65536 ? { port, token: found[2] } : null;
}

/**
 * The host's answer, if it is one.
 * @param {any} answer
 * @returns {Connection}
 */
export function readHostAnswer(answer) {
  const { port, token, version, error, hint } = answer ?? {};
  if (Number.isInteger(port) && port > 0 && port < 65536 && typeof token === "string" && token) {
    return { port, token, version: String(version ?? ""), way: "host" };
  }
  throw new NotConnected("not-running", [error, hint].filter((part) => typeof part === "string").join(" "));
}

/**
 * The last connection, or a new one.
 * @param {{fresh?: boolean}} [options] fresh: the last one failed
 * @returns {Promise<Connection>}
 */
export async function find({ fresh = false } = {}) {
  if (!fresh) {
    const { connection } = await browser.storage.session.get("connection");
    if (connection) return connection;
  }
  const connection = await ask();
  await browser.storage.session.set({ connection });
  return connection;
}

export async function forget() {
  await browser.storage.session.remove("connection");
}

/** @param {string} text "" takes it back. @returns {Promise<boolean>} false: not understood */
export async function paste(text) {
  if (!text.trim()) {
    await browser.storage.local.remove("pasted");
  } else {
    if (!readPasted(text)) return false;
    await browser.storage.local.set({ pasted: text.trim() });
  }
  await forget();
  return true;
}

/** @returns {Promise<Connection>} */
async function ask() {
  /** @type {NotConnected} */
  let trouble;
  try {
    return readHostAnswer(await browser.runtime.sendNativeMessage(HOST, { ask: "connection" }));
  } catch (error) {
    // Not registered, not allowed (Snap, Flatpak), or it ended without an answer: all look alike from here.
    trouble = error instanceof NotConnected ? error : new NotConnected("no-host", String(error));
  }
  const { pasted } = await browser.storage.local.get("pasted");
  const found = pasted && readPasted(pasted);
  if (found) return { ...found, version: "", way: "pasted" };
  throw trouble;
}

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
  if (found) return pair(found);
  throw trouble;
}

/**
 * The key itself is told to nobody: while the daemon is off, any user of this computer may listen on its port. Both
 * sides prove that they hold it, for this port and this talk; then the daemon gives the token of its run.
 * @param {{port: number, token: string}} pasted
 * @returns {Promise<Connection>}
 */
async function pair({ port, token: key }) {
  const nonce = newNonce();
  const begun = await talk(port, "pair", { nonce });
  const said = `${port} ${nonce} ${begun.nonce}`;
  if (begun.proof !== (await hmac(key, `daemon ${said}`))) throw new NotConnected("pasted-wrong");
  const { token, version } = await talk(port, "pair", { nonce, answer: begun.nonce, proof: await hmac(key, `addon ${said}`) });
  return { port, token: String(token), version: String(version ?? ""), way: "pasted" };
}

/**
 * Is it still the daemon whose token this is? It may have ended since, and another user may listen on its port.
 * @param {Connection} connection
 * @returns {Promise<boolean>}
 */
export async function proved({ port, token }) {
  const nonce = newNonce();
  const { proof } = await talk(port, "prove", { nonce });
  return proof === (await hmac(token, `run ${port} ${nonce}`));
}

function newNonce() {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24)))).replace(/[+]/g, "-").replace(/[/]/g, "_");
}

/** @param {number} port @param {"pair" | "prove"} what @param {object} body @returns {Promise<any>} */
async function talk(port, what, body) {
  let response;
  try {
    response = await fetch(`http://127.0.0.1:${port}/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(10_000),
    });
  } catch (error) {
    throw new NotConnected("not-running", String(error));
  }
  const answer = response.ok ? await response.json().catch(() => null) : null;
  if (!answer) throw new NotConnected("pasted-wrong");
  return answer;
}

/** @param {string} key @param {string} text @returns {Promise<string>} hex */
async function hmac(key, text) {
  const bytes = (/** @type {string} */ one) => new TextEncoder().encode(one);
  const held = await crypto.subtle.importKey("raw", bytes(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signed = new Uint8Array(await crypto.subtle.sign("HMAC", held, bytes(text)));
  return Array.from(signed, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

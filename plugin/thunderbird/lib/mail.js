// @ts-check
// A mail as Thunderbird knows it, and as the daemon knows it.

import * as api from "./api.js";

/**
 * What names a mail for the daemon. Thunderbird makes up "md5:…" for a mail without a Message-ID: that names nothing.
 * Anybody can copy a Message-ID: the size tells such mails apart, mostly (see `known`).
 * @param {{headerMessageId?: string, size?: number}} header
 * @returns {{message_id: string, size: number}} size 0: not known
 */
export function identityOf(header) {
  const id = String(header.headerMessageId ?? "").trim();
  const { size = 0 } = header;
  return {
    message_id: /^md5:[0-9a-f]*$/i.test(id) ? "" : id.replace(/^<|>$/g, ""),
    size: Number.isSafeInteger(size) && size > 0 ? size : 0,
  };
}

/**
 * What the daemon knows of this very mail. Where Message-ID and size leave a doubt, the mail itself is shown to it.
 * @param {any} header
 * @returns {Promise<api.Judgement | null>}
 */
export async function known(header) {
  const identity = identityOf(header);
  if (!identity.message_id) return null;
  const { judgement, doubtful } = await api.identify(identity);
  if (judgement || !doubtful) return judgement;
  const lying = { account: await accountOf(header), lies_in: String(header.folder?.path ?? "") };
  return (await api.identify({ ...identity, raw: await beginning(header.id), ...lying })).judgement;
}

/**
 * The daemon's name for the account that a mail lies in: both know it by the person's address, or its part before
 * the @. null where that fits none or several.
 * @param {any} header
 * @returns {Promise<string | null>}
 */
export async function accountOf(header) {
  const accountId = header.folder?.accountId;
  const here = accountId ? await browser.accounts.get(accountId) : null;
  const addresses = (here?.identities ?? []).map(({ email }) => String(email ?? "").toLowerCase());
  const { accounts } = await api.status();
  const users = accounts.map(({ account }) => [account.name, String(account.user).toLowerCase()]);
  const parts = addresses.map((address) => address.split("@")[0]);
  for (const names of [addresses, parts]) {
    const fitting = users.filter(([, user]) => user && names.includes(user));
    if (fitting.length === 1) return fitting[0][0];
  }
  return null;
}

/**
 * Without the lines that Thunderbird's own store puts before the mail.
 * @param {Uint8Array} raw
 * @returns {Uint8Array}
 */
export function withoutStoreLines(raw) {
  const ours = ["X-Mozilla-Status", "X-Mozilla-Keys", "From - "];
  let start = 0;
  for (;;) {
    const line = String.fromCharCode(...raw.subarray(start, start + 20));
    if (!ours.some((begin) => line.startsWith(begin))) return raw.subarray(start);
    const end = raw.indexOf(10, start);
    if (end < 0) return raw.subarray(raw.length);
    start = end + 1;
  }
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

/**
 * With the line ends of the wire, which local folders do not keep.
 * @param {Uint8Array} raw
 * @param {number} most bytes
 * @returns {Uint8Array}
 */
export function asSent(raw, most) {
  const sent = new Uint8Array(Math.min(most, 2 * raw.length));
  let length = 0;
  let last = 0;
  for (const byte of raw) {
    if (byte === 10 && last !== 13 && length < most) sent[length++] = 13;
    if (length >= most) break;
    sent[length++] = last = byte;
  }
  return sent.subarray(0, length);
}

const MOST_BYTES = 65536; // what the daemon itself reads of a mail

/** How a mail begins, as far as the daemon reads and as it came. @param {number} id @returns {Promise<string>} base64 */
export async function beginning(id) {
  const file = /** @type {File} */ (await browser.messages.getRaw(id, { data_format: "File" }));
  const bytes = new Uint8Array(await file.slice(0, MOST_BYTES + 2048).arrayBuffer());
  return toBase64(asSent(withoutStoreLines(bytes), MOST_BYTES));
}

/** @param {any} folder */
export function isJunkFolder(folder) {
  return Boolean(folder?.specialUse?.includes("junk"));
}

/**
 * Thunderbird itself moves the mail: where the daemon does not know it, or had nothing to move.
 * The daemon sees the move like any other of the person's.
 * @param {any} header
 * @param {"spam" | "ham"} label
 * @returns {Promise<"junk" | "back" | "none">}
 */
export async function moveByHand(header, label) {
  const inJunk = isJunkFolder(header.folder);
  if (inJunk === (label === "spam")) return "none";
  const accountId = header.folder?.accountId;
  const [target] = await browser.folders.query({ specialUse: [label === "spam" ? "junk" : "inbox"], accountId });
  if (!target?.id) return "none";
  await browser.messages.move([header.id], target.id);
  return label === "spam" ? "junk" : "back";
}

/** @param {any} displayed a list, or Thunderbird's MessageList @returns {any[]} */
export function listOf(displayed) {
  return Array.isArray(displayed) ? displayed : (displayed?.messages ?? []);
}

/**
 * The mails open in a tab. In a mail tab these are the chosen ones: getDisplayedMessages would wait there for the end
 * of a loading, which Thunderbird does not always tell.
 * @param {any} tab
 * @returns {Promise<any[]>}
 */
export async function openIn(tab) {
  if (tab.type === "mail") return listOf(await browser.mailTabs.getSelectedMessages(tab.id));
  return listOf(await browser.messageDisplay.getDisplayedMessages(tab.id));
}

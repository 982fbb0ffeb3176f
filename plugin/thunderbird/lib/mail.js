// @ts-check
// A mail as Thunderbird knows it, and as the daemon knows it.

/**
 * What names a mail for the daemon. Thunderbird makes up "md5:…" for a mail without a Message-ID: that names nothing.
 * Anybody can copy a Message-ID: the size tells such mails apart.
 * @param {{headerMessageId?: string, size?: number}} header
 * @returns {{message_id: string, size: number | null}}
 */
export function identityOf(header) {
  const id = String(header.headerMessageId ?? "").trim();
  const { size = 0 } = header;
  return {
    message_id: /^md5:[0-9a-f]*$/i.test(id) ? "" : id.replace(/^<|>$/g, ""),
    size: Number.isSafeInteger(size) && size > 0 ? size : null,
  };
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

const MOST_BYTES = 65536; // what the daemon itself reads of a mail

/** The beginning of a mail, for "what would you say". @param {number} id @returns {Promise<string>} base64 */
export async function beginning(id) {
  const file = /** @type {File} */ (await browser.messages.getRaw(id, { data_format: "File" }));
  const bytes = new Uint8Array(await file.slice(0, MOST_BYTES + 512).arrayBuffer());
  return toBase64(withoutStoreLines(bytes).subarray(0, MOST_BYTES));
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

// @ts-check
// The daemon's JSON API (/api/v1), as far as this add-on asks it.

import { NotConnected, find, forget, proved } from "./connection.js";

/** The daemon said no. */
export class Refused extends Error {
  /** @param {number} status @param {string} title @param {string} hint */
  constructor(status, title, hint) {
    super([title, hint].filter(Boolean).join(" "));
    this.status = status;
  }
}

/** @typedef {"spam" | "ham"} Label */
/** @typedef {"keep" | "unsure" | "junk"} Verdict */
/**
 * @typedef {object} Judgement
 * @property {number} id
 * @property {string} account
 * @property {number} at Unix seconds
 * @property {{probability: number, model_id: string, copy_of: Label | null}} score
 * @property {{verdict: Verdict, move: boolean, reason: string, explanation: string}} decision
 * @property {string} sender
 * @property {string} subject
 * @property {Label | null} label
 * @property {boolean} moved
 */
/** @typedef {{kind: string, text: string, contribution: number, place?: string, words?: string}} Reason */
/**
 * @typedef {object} Why
 * @property {Verdict} verdict
 * @property {number} probability
 * @property {string} explanation
 * @property {Reason[]} reasons
 * @property {string} missing
 */
/** @typedef {{judgement: Judgement, cause: string, question: string, suggestion: Label | null}} ReviewItem */
/** @typedef {{judgement: Judgement, move: "junk" | "back" | "none", text: string}} Answered */

const SECONDS = 30;

/**
 * One request. A daemon that was started anew has another port and token: asked for once more.
 * @param {"GET" | "POST"} method
 * @param {string} path below /api/v1/
 * @param {object} [body]
 * @returns {Promise<any>}
 */
export async function request(method, path, body) {
  let connection = await find();
  for (let last = false; ; last = true) {
    let response;
    try {
      // A mail is shown to nobody else.
      if (body && "raw" in body && !(await proved(connection))) throw new Error("Another program listens there.");
      response = await fetch(`http://127.0.0.1:${connection.port}/api/v1/${path}`, {
        method,
        headers: {
          Authorization: `Bearer ${connection.token}`,
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        signal: AbortSignal.timeout(SECONDS * 1000),
      });
    } catch (error) {
      if (last) {
        await forget();
        throw new NotConnected("unreachable", String(error));
      }
      connection = await find({ fresh: true });
      continue;
    }
    if (response.status === 401) {
      if (last) {
        await forget();
        throw new NotConnected(connection.way === "pasted" ? "pasted-wrong" : "unreachable");
      }
      connection = await find({ fresh: true });
      continue;
    }
    const answer = await response.json().catch(() => null);
    if (!response.ok) {
      const { title, hint } = answer?.error ?? {};
      throw new Refused(response.status, String(title ?? `HTTP ${response.status}`), String(hint ?? ""));
    }
    return answer;
  }
}

export const status = () => request("GET", "status");

/**
 * @param {{message_id: string, size: number, raw?: string, account?: string | null, lies_in?: string}} mail
 * @returns {Promise<{judgement: Judgement | null, doubtful: boolean}>}
 */
export async function identify(mail) {
  const { judgement = null, doubtful = false } = (await request("POST", "identify", mail)) ?? {};
  return { judgement, doubtful };
}

/** @param {number} id @returns {Promise<Why>} */
export const why = (id) => request("GET", `judgements/${id}/why`);

/** @param {string} raw base64 @returns {Promise<Why>} */
export const tryMail = (raw) => request("POST", "try", { raw });

/** @param {number} id @param {Label} label @returns {Promise<Answered>} */
export const teach = (id, label) => request("POST", `judgements/${id}/label`, { label, source: "addon" });

/**
 * A mail that was not judged.
 * @param {string} raw base64 @param {Label} label @param {string | null} account null: the first
 */
export const teachMail = (raw, label, account) => request("POST", "teach", { raw, label, account });

/** @param {number} limit @returns {Promise<ReviewItem[]>} */
export const review = (limit) => request("GET", `review?limit=${limit}`);

/** Newest first. @param {number} limit @returns {Promise<Judgement[]>} */
export const recentJunk = (limit) => request("GET", `judgements?verdict=junk&limit=${limit}`);

/** @param {number} id @returns {Promise<{message_id: string, size: number, folder: string}>} */
export const whereabouts = (id) => request("GET", `judgements/${id}/whereabouts`);

/** The daemon's own pages, in the browser. The way in is good once. */
export async function openPages() {
  const { path } = await request("POST", "open");
  const { port } = await find();
  await browser.windows.openDefaultBrowser(`http://127.0.0.1:${port}${path}`);
}

/** The person looked at the flood. @param {string} account */
export const goOn = (account) => request("POST", `accounts/${encodeURIComponent(account)}/go-on`, {});

// @ts-check
// Answers in the person's language. Machine words have a translation; a word that is not known is shown as it came.

/** @typedef {import("./api.js").Judgement} Judgement */
/** @typedef {import("./api.js").Reason} Reason */

/** @param {string} key @param {...string} values */
export function say(key, ...values) {
  return browser.i18n.getMessage(key, values) || key;
}

/** @type {Record<string, string>} */
const SIGNS = { "!": "exclamation", "?": "question", $: "dollar", "%": "percent", ">": "over " };

/**
 * A machine word such as "learning" below a prefix such as "decision"; "" where there is no translation.
 * @param {string} prefix
 * @param {string} word
 */
export function translated(prefix, word) {
  const parts = word.replace(/[!?$%>]/g, (sign) => SIGNS[sign]).split(/[^a-zA-Z0-9]+/);
  const key = prefix + parts.map((part) => part.slice(0, 1).toUpperCase() + part.slice(1)).join("");
  return browser.i18n.getMessage(key) || "";
}

/**
 * "links: shortener", "words: not: talk": where it was found, and what.
 * @param {string} text
 * @returns {[string, string]}
 */
function factWords(text) {
  const [group, ...rest] = text.split(": ");
  const how = rest.length > 1 && (rest[0] === "not" || rest[0] === "little") ? rest.shift() : "";
  const detail = rest.join(": ");
  const fact = translated("fact", detail) || detail;
  const told = how ? say(how === "not" ? "factAbsent" : "factBelowUsual", fact) : fact;
  return [translated("group", group) || group, told];
}

/** The numbers a version begins with: "0.1.10" of "0.1.10.dev3". @param {string} version */
export function release(version) {
  return /^\d+(\.\d+)*/.exec(version)?.[0] ?? version;
}

/** @param {number} probability 0..1. Never 0 % or 100 %: nothing is that certain. */
export function percent(probability) {
  const value = Math.min(0.999, Math.max(0.001, probability));
  const digits = value > 0.99 || value < 0.01 ? 1 : 0;
  return new Intl.NumberFormat(browser.i18n.getUILanguage(), {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);
}

/** The verdict that counts: the person's word goes before the model's. @param {Judgement} judgement */
export function verdictOf(judgement) {
  if (judgement.label === "spam") return "junk";
  if (judgement.label === "ham") return "keep";
  return judgement.decision.verdict;
}

const BADGES = {
  junk: { text: "!", colour: "#b23a3a" },
  unsure: { text: "?", colour: "#b8860b" },
  keep: { text: "", colour: "#2e8b57" },
};

/**
 * How the button on an open mail looks.
 * @param {Judgement | null} judgement
 */
export function buttonOf(judgement) {
  if (!judgement) return { icon: "icons/off.svg", badge: "", colour: "#808080", title: say("buttonUnknown") };
  const verdict = verdictOf(judgement);
  const title = judgement.label
    ? say(judgement.label === "spam" ? "buttonToldJunk" : "buttonToldGood")
    : `${translated("verdict", verdict)} · ${say("spamProbability", percent(judgement.score.probability))}`;
  const { text, colour } = BADGES[verdict] ?? BADGES.keep;
  return { icon: `icons/${verdict}.svg`, badge: text, colour, title };
}

/** Why it was decided so. @param {{verdict: string, reason: string, explanation: string}} decision */
export function decisionSentence({ verdict, reason, explanation }) {
  return translated("decision", `${reason} ${verdict}`) || translated("decision", reason) || explanation;
}

/**
 * @param {Reason} reason
 * @param {number} [strongest] contribution of the strongest reason beside it
 * @returns {{kind: string, text: string, towards: "spam" | "ham", strength: number}} strength 0..1
 */
export function reasonView(reason, strongest = 0) {
  const [kind, text] =
    reason.kind === "fact" && reason.text.includes(": ")
      ? factWords(reason.text)
      : [translated("kind", reason.kind) || reason.kind, reason.text];
  return {
    kind,
    text,
    towards: reason.contribution >= 0 ? "spam" : "ham",
    // Next to strong ones a weak one is short; alone it stays short, too. Log odds: 1.5 makes it 4.5 times likelier.
    strength: Math.min(1, Math.abs(reason.contribution) / Math.max(1.5, Math.abs(strongest))),
  };
}

/** @param {import("./connection.js").NotConnected | Error} error */
export function troubleSentences(error) {
  const trouble = /** @type {any} */ (error).trouble;
  if (trouble) return { title: translated("trouble", trouble), hint: translated("hint", trouble) };
  return { title: say("troubleOther"), hint: error.message };
}

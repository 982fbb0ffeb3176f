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
 * Where a cause lies, and what it is: in the person's language where this add-on knows it, else as the filter says it.
 * @param {Reason} reason a fact such as "links: shortener" or "words: not: talk" has its translation in parts
 * @returns {[string, string]}
 */
function causeWords({ kind, text, place, words }) {
  const asTold = /** @type {[string, string]} */ ([place || translated("kind", kind) || kind, words || text]);
  if (kind !== "fact" || !text.includes(": ")) return [translated("kind", kind) || asTold[0], asTold[1]];
  const [group, ...rest] = text.split(": ");
  const how = rest.length > 1 && (rest[0] === "not" || rest[0] === "little") ? rest.shift() : "";
  const where = translated("group", group);
  // What is a size, or is so or not, has no number: more or less than usual is a sentence of its own, as the filter has it.
  const measured = (/** @type {string} */ word) => translated("measured", [group, word, ...rest].join(" "));
  const size = measured(how || "more") || (how === "little" ? measured("not") : "");
  if (where && size) return [where, size];
  const fact = translated("fact", rest.join(": "));
  if (!where || !fact) return asTold;
  return [where, how ? browser.i18n.getMessage(how === "not" ? "factAbsent" : "factBelowUsual", [fact]) : fact];
}

/** The numbers a version begins with: "0.1.10" of "0.1.10.dev3". @param {string} version */
export function release(version) {
  return /^\d+(\.\d+)*/.exec(version)?.[0] ?? version;
}

/**
 * As the pages say it: "85%", and near both ends as many digits as tell it from certainty, for nothing is that certain.
 * @param {number} probability 0..1
 */
export function percent(probability) {
  const value = Math.min(0.99999, Math.max(0.001, probability));
  return new Intl.NumberFormat(browser.i18n.getUILanguage(), {
    style: "percent",
    minimumFractionDigits: value < 0.01 ? 1 : 0,
    maximumFractionDigits: value > 0.99 ? 3 : value > 0.9 || value < 0.01 ? 1 : 0,
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
  const [kind, text] = causeWords(reason);
  return {
    kind,
    text,
    towards: reason.contribution >= 0 ? "spam" : "ham",
    // Next to strong ones a weak one is short; alone it stays short, too. Log odds: 1.5 makes it 4.5 times likelier. By a
    // near-copy the person's word decides, whatever the score is made of.
    strength: reason.kind === "copy" ? 1 : Math.min(1, Math.abs(reason.contribution) / Math.max(1.5, Math.abs(strongest))),
  };
}

/** @param {import("./connection.js").NotConnected | Error} error */
export function troubleSentences(error) {
  const trouble = /** @type {any} */ (error).trouble;
  if (trouble) return { title: translated("trouble", trouble), hint: translated("hint", trouble) };
  return { title: say("troubleOther"), hint: error.message };
}

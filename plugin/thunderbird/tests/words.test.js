import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { NotConnected } from "../lib/connection.js";
import { buttonOf, decisionSentence, percent, reasonView, release, troubleSentences, verdictOf } from "../lib/words.js";
import { thunderbird } from "./support.js";

const judged = (changes = {}) => ({
  id: 1,
  score: { probability: 0.97 },
  decision: { verdict: "junk", reason: "score", explanation: "It looks like junk (97 %)." },
  label: null,
  ...changes,
});

test("the person's word goes before the model's", () => {
  thunderbird();
  assert.equal(verdictOf(judged()), "junk");
  assert.equal(verdictOf(judged({ label: "ham" })), "keep");
  assert.equal(buttonOf(judged({ label: "ham" })).title, "Good mail: you said so");
  const button = { icon: "icons/junk.svg", badge: "!", colour: "#b23a3a", title: "Junk · 97% junk" };
  assert.deepEqual(buttonOf(judged()), button);
  assert.equal(buttonOf(null).icon, "icons/off.svg");
});

test("of a version its numbers count, and all of them", () => {
  assert.equal(release("0.1.10"), "0.1.10");
  assert.notEqual(release("0.1.10"), release("0.1.1"));
  assert.equal(release("0.1.1.dev3+g1"), release("0.1.1"));
  assert.equal(release("0.2.0rc1"), "0.2.0");
  assert.equal(release(""), "");
});

test("nothing is certain", () => {
  thunderbird();
  assert.equal(percent(1), "99.9%");
  assert.equal(percent(0), "0.1%");
  assert.equal(percent(0.5), "50%");
});

test("machine words are translated, other words shown as they came", () => {
  thunderbird("de");
  assert.equal(decisionSentence({ verdict: "junk", reason: "learning", explanation: "x" }), "Solange spamd lernt, wird nichts verschoben.");
  assert.equal(decisionSentence({ verdict: "junk", reason: "score", explanation: "x" }), "Sie sieht nach Junk aus.");
  assert.equal(decisionSentence({ verdict: "keep", reason: "copy", explanation: "x" }).endsWith("dass sie gut ist."), true);
  assert.equal(decisionSentence({ verdict: "junk", reason: "new", explanation: "It is new." }), "It is new.");
  const word = reasonView({ kind: "word", text: "<b>gratis</b>", contribution: 8 });
  assert.equal(reasonView({ kind: "word", text: "x", contribution: -1 }, 4).strength, 0.25);
  assert.equal(reasonView({ kind: "word", text: "x", contribution: 0.75 }, 0.75).strength, 0.5);
  assert.deepEqual(word, { kind: "Wort", text: "<b>gratis</b>", towards: "spam", strength: 1 });
  const fact = (text) => {
    const { kind, text: told } = reasonView({ kind: "fact", text, contribution: 1 });
    return `${kind}: ${told}`;
  };
  assert.equal(fact("links: text differs"), "Links: Text zeigt anderes");
  assert.equal(fact("text: $ rate"), "Wortwahl: Anteil $");
  assert.equal(fact("subject words: not: money"), "Betreff: ohne Wörter zu Geld");
  assert.equal(fact("words: little: many talk"), "Wörter: weniger als sonst: viele Wörter zu Gespräch");
  assert.equal(fact("new: thing"), "new: thing");
  assert.equal(fact("plain"), "Merkmal: plain");
  assert.equal(reasonView({ kind: "new", text: "x", contribution: -1 }).kind, "new");
  assert.equal(troubleSentences(new NotConnected("not-running")).title, "spamd läuft nicht.");
  assert.equal(troubleSentences(new Error("boom")).hint, "boom");
});

test("both languages say the same things, and every word that is asked for is there", () => {
  const root = new URL("../", import.meta.url);
  const read = (name) => readFileSync(new URL(name, root), "utf8");
  const en = JSON.parse(read("_locales/en/messages.json"));
  const de = JSON.parse(read("_locales/de/messages.json"));
  assert.deepEqual(Object.keys(en), Object.keys(de));
  const holes = (message) => (message.match(/\$\d/g) ?? []).sort();
  for (const key of Object.keys(en)) assert.deepEqual(holes(en[key].message), holes(de[key].message), key);
  const asked = new Set();
  const patterns = [/data-say="(\w+)"/g, /\bsay\(\s*"(\w+)"/g, /\bsay\([^()]*\? "(\w+)" : "(\w+)"/g, /__MSG_(\w+)__/g];
  for (const name of readdirSync(root, { recursive: true }).map(String)) {
    if (!/\.(js|html|json)$/.test(name) || /^(tests|_locales)/.test(name)) continue;
    for (const pattern of patterns) {
      for (const [, ...keys] of read(name).matchAll(pattern)) keys.forEach((key) => asked.add(key));
    }
  }
  assert.ok(asked.size > 35, String(asked.size));
  assert.deepEqual([...asked].filter((key) => !(key in en)), []);
});

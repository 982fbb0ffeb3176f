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
  const button = { icon: "icons/junk.svg", badge: "!", colour: "#b23a3a", title: "Junk · 97% likely to be junk" };
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
  assert.equal(percent(1), "99.999%");
  assert.equal(percent(0.9912), "99.12%");
  assert.equal(percent(0.982), "98.2%");
  assert.equal(percent(0.97), "97%");
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
  assert.deepEqual(word, { kind: "Wörter", text: "<b>gratis</b>", towards: "spam", strength: 1 });
  assert.equal(reasonView({ kind: "copy", text: "x", contribution: 0.005 }, 4).strength, 1);
  const told = (reason) => {
    const { kind, text } = reasonView({ contribution: 1, ...reason });
    return `${kind}: ${text}`;
  };
  const fact = (text) => told({ kind: "fact", text, place: "place", words: "as told" });
  assert.equal(fact("links: text differs"), "Links: Links, deren Text einen anderen Server nennt");
  assert.equal(fact("text: $ rate"), "Wortwahl: „$“ für die Länge");
  assert.equal(fact("subject words: not: money"), "Betreff: ohne Wörter über Geld");
  assert.equal(fact("words: little: many talk"), "Wörter: weniger als sonst: viele Alltagswörter");
  assert.equal(fact("lines: little: longest"), "Zeilen: keine so lange Zeile wie sonst");
  assert.equal(fact("links: longest"), "Links: eine längere Adresse als sonst");
  assert.equal(fact("text: not: empty"), "Wortwahl: nicht leer");
  assert.equal(fact("text: little: empty"), "Wortwahl: nicht leer");
  assert.equal(fact("text: empty"), "Wortwahl: leer");
  assert.equal(fact("new: thing"), "place: as told");
  assert.equal(fact("tag br 4"), "Aufbau: as told");
  assert.equal(told({ kind: "fact", text: "tag br 4" }), "Aufbau: tag br 4", "of a filter that gives no words");
  assert.equal(told({ kind: "sender", text: "dkim none", place: "header", words: "DKIM: none" }), "Kopf: DKIM: none");
  thunderbird("en");
  assert.equal(fact("links: text differs"), "place: as told", "in English as everywhere else");
  thunderbird("de");
  assert.equal(reasonView({ kind: "new", text: "x", contribution: -1 }).kind, "new");
  assert.equal(troubleSentences(new NotConnected("not-running")).title, "spamd läuft nicht.");
  assert.equal(troubleSentences(new Error("boom")).hint, "boom");
});

test("both languages say the same things, and every word that is asked for is there", () => {
  const root = new URL("../", import.meta.url);
  const read = (name) => readFileSync(new URL(name, root), "utf8");
  const en = JSON.parse(read("_locales/en/messages.json"));
  const de = JSON.parse(read("_locales/de/messages.json"));
  // What the filter itself says in English needs no second copy here.
  const needsNone = (key) => /^(fact|group|measured)[A-Z]/.test(key);
  assert.deepEqual(Object.keys(en).filter(needsNone), []);
  assert.deepEqual(Object.keys(en), Object.keys(de).filter((key) => !needsNone(key)));
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

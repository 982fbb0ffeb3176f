import assert from "node:assert/strict";
import { test } from "node:test";
import { identityOf, isJunkFolder, listOf, toBase64, withoutStoreLines } from "../lib/mail.js";

const bytes = (text) => new TextEncoder().encode(text);
const text = (raw) => new TextDecoder().decode(raw);

test("a mail is named by its Message-ID, never by an invented one or its subject", () => {
  const named = { headerMessageId: "a@b.example", size: 10, subject: "x" };
  assert.deepEqual(identityOf(named), { message_id: "a@b.example", size: 10 });
  assert.deepEqual(identityOf({ headerMessageId: "<a@b>", size: 0 }), { message_id: "a@b", size: null });
  assert.deepEqual(identityOf({ headerMessageId: "md5:0123456789abcdef" }), { message_id: "", size: null });
  assert.deepEqual(identityOf({}), { message_id: "", size: null });
});

test("Thunderbird's own lines are not the mail's", () => {
  const mail = "From: a@b\r\nX-Mozilla-Status: kept inside\r\n\r\nbody";
  const status = "X-Mozilla-Status: 0001\nX-Mozilla-Status2: 00000000\n";
  assert.equal(text(withoutStoreLines(bytes(status + mail))), mail);
  assert.equal(text(withoutStoreLines(bytes(`From - Mon\nX-Mozilla-Keys: \r\n${mail}`))), mail);
  assert.equal(text(withoutStoreLines(bytes(mail))), mail);
  assert.equal(text(withoutStoreLines(bytes("X-Mozilla-Status: 1"))), "");
  assert.equal(text(withoutStoreLines(bytes(""))), "");
});

test("base64 of more than one piece", () => {
  const raw = Uint8Array.from({ length: 100_003 }, (_, at) => at % 251);
  assert.equal(toBase64(raw), Buffer.from(raw).toString("base64"));
});

test("both shapes of what is displayed", () => {
  assert.deepEqual(listOf([1]), [1]);
  assert.deepEqual(listOf({ id: null, messages: [1] }), [1]);
  assert.deepEqual(listOf(null), []);
  assert.equal(isJunkFolder({ specialUse: ["junk"] }), true);
  assert.equal(isJunkFolder({ name: "Junk" }), false);
});

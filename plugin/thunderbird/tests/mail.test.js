import assert from "node:assert/strict";
import { test } from "node:test";
import { asSent, identityOf, isJunkFolder, known, listOf, toBase64, withoutStoreLines } from "../lib/mail.js";
import { daemon, thunderbird } from "./support.js";

const bytes = (text) => new TextEncoder().encode(text);
const text = (raw) => new TextDecoder().decode(raw);

test("a mail is named by its Message-ID, never by an invented one or its subject", () => {
  const named = { headerMessageId: "a@b.example", size: 10, subject: "x" };
  assert.deepEqual(identityOf(named), { message_id: "a@b.example", size: 10 });
  assert.deepEqual(identityOf({ headerMessageId: "<a@b>", size: -1 }), { message_id: "a@b", size: 0 });
  assert.deepEqual(identityOf({ headerMessageId: "md5:0123456789abcdef" }), { message_id: "", size: 0 });
  assert.deepEqual(identityOf({}), { message_id: "", size: 0 });
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

test("local folders change line ends: what is sent has those of the wire", () => {
  assert.equal(text(asSent(bytes("a\nb\r\n\nc"), 99)), "a\r\nb\r\n\r\nc");
  assert.equal(text(asSent(bytes("a\nb\n"), 3)), "a\r\n");
  assert.equal(text(asSent(bytes("abcdef"), 4)), "abcd");
  assert.equal(text(asSent(bytes(""), 4)), "");
});

test("where Message-ID and size leave a doubt, the mail itself is shown, and where it lies", async (context) => {
  const mine = { judgement: { id: 9 }, doubtful: false };
  let asked = 0;
  const answers = {
    get "POST identify"() {
      return [200, asked++ ? mine : { judgement: null, doubtful: true }];
    },
    "GET status": [200, { accounts: [["home", "me@a.example"], ["work", "Me@B.example"]].map(([name, user]) => ({ account: { name, user } })) }],
  };
  const { port, requests, close } = await daemon("t", answers);
  context.after(close);
  thunderbird("en", async () => ({ port, token: "t", version: "1" }));
  browser.accounts = { get: async (id) => ({ id, identities: [{ email: "me@b.example" }] }) };
  browser.messages = { getRaw: async () => new Blob(["X-Mozilla-Status: 0001\nFrom: a@b\n\nhello\n"]) };
  const header = { id: 4, headerMessageId: "x@y", size: 12, folder: { accountId: "account1", path: "/INBOX/Lists" } };
  assert.deepEqual(await known(header), { id: 9 });
  const shown = requests.filter(({ url }) => url.endsWith("identify")).map(({ body }) => body);
  const raw = Buffer.from("From: a@b\r\n\r\nhello\r\n").toString("base64");
  assert.deepEqual(shown, [
    { message_id: "x@y", size: 12 },
    { message_id: "x@y", size: 12, raw, account: "work", lies_in: "/INBOX/Lists" },
  ]);
  assert.equal(await known({ id: 5, headerMessageId: "md5:00", size: 3 }), null);
  assert.deepEqual(await known({ ...header, folder: undefined }), { id: 9 }, "a mail opened from a file");
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

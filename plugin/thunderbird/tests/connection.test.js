import assert from "node:assert/strict";
import { test } from "node:test";
import { NotConnected, find, paste, readHostAnswer, readPasted } from "../lib/connection.js";
import { daemon, thunderbird } from "./support.js";

const TOKEN = "abcdefghijklmnopqrstuvwxyz_-0123";
const KEY = `9:${TOKEN}`; // nothing listens there

test("a pasted key is read strictly", () => {
  assert.deepEqual(readPasted(` ${KEY}\n`), { port: 9, token: TOKEN });
  const wrong = ["", "4711", `0:${TOKEN}`, `70000:${TOKEN}`, "1:short", `evil.example:${KEY}`, `4711:../${TOKEN}`];
  for (const text of wrong) assert.equal(readPasted(text), null, text);
});

test("only a whole answer of the host counts", () => {
  assert.equal(readHostAnswer({ port: 1, token: "t", version: "1" }).way, "host");
  for (const wrong of [null, {}, { port: "1", token: "t" }, { port: 1, token: "" }, { port: 99999, token: "t" }]) {
    assert.throws(() => readHostAnswer(wrong), NotConnected);
  }
  assert.throws(
    () => readHostAnswer({ error: "Not running.", hint: "Start it." }),
    (error) => error.trouble === "not-running" && error.detail === "Not running. Start it.",
  );
});

test("the host is asked once, then again only when the answer failed", async () => {
  let port = 1;
  const { asked } = thunderbird("en", async () => ({ port: port++, token: "t", version: "1" }));
  assert.equal((await find()).port, 1);
  assert.equal((await find()).port, 1);
  assert.equal((await find({ fresh: true })).port, 2);
  assert.deepEqual(asked, ["org.spamd.desktop", "org.spamd.desktop"]);
});

test("without a host the pasted key is used; without both the trouble is told", async (context) => {
  thunderbird();
  await assert.rejects(find(), (error) => error.trouble === "no-host");
  assert.equal(await paste("nonsense"), false);
  assert.equal(await paste(KEY), true);
  const { port, close } = await daemon("run", {}, TOKEN);
  context.after(close);
  await assert.rejects(find(), (error) => error.trouble === "not-running", "the daemon is off");
  assert.equal(await paste(`${port}:${TOKEN}`), true);
  assert.deepEqual(await find(), { port, token: "run", version: "3", way: "pasted" });
  assert.equal(await paste(""), true);
  await assert.rejects(find(), (error) => error.trouble === "no-host");
});

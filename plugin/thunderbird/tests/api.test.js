import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as api from "../lib/api.js";
import { daemon, thunderbird } from "./support.js";

const running = [];
after(() => Promise.all(running.map(({ close }) => close())));

async function started(token, answers) {
  const one = await daemon(token, answers);
  running.push(one);
  return one;
}

test("asks with the token and teaches as the add-on", async () => {
  const answered = { judgement: { id: 7 }, move: "junk", text: "" };
  const { port, requests } = await started("good", {
    "POST judgements/7/label": [200, answered],
    "POST identify": [200, { judgement: { id: 7 } }],
  });
  thunderbird("en", async () => ({ port, token: "good", version: "1" }));
  assert.equal((await api.identify({ message_id: "a@b", size: 0 })).judgement?.id, 7);
  assert.deepEqual(await api.teach(7, "spam"), answered);
  const bodies = requests.map(({ body }) => body);
  assert.deepEqual(bodies, [{ message_id: "a@b", size: 0 }, { label: "spam", source: "addon" }]);
  assert.equal(requests[0].headers.authorization, "Bearer good");
});

test("a daemon that was started anew is found again, once", async () => {
  const old = await started("another", {});
  const now = await started("new", { "GET status": [200, { version: "2" }] });
  const known = [
    { port: old.port, token: "stale", version: "1" },
    { port: now.port, token: "new", version: "2" },
  ];
  const { asked } = thunderbird("en", async () => known[Math.min(asked.length, known.length) - 1]);
  assert.deepEqual(await api.status(), { version: "2" });
  assert.equal(asked.length, 2);
  await now.close();
  await assert.rejects(api.status(), (error) => error.trouble === "unreachable");
  assert.equal(asked.length, 3);
});

test("a pasted key is proved to the daemon and never told; another refusal keeps its words", async () => {
  const key = "key-of-some-length-that-lasts";
  const { port, requests, close } = await daemon("run", { "GET status": [400, { error: { title: "No.", hint: "Try." } }] }, key);
  running.push({ close });
  thunderbird();
  await browser.storage.local.set({ pasted: `${port}:another-key-of-some-length` });
  await assert.rejects(api.status(), (error) => error.trouble === "pasted-wrong");
  assert.equal(requests.length, 1, "nothing is proved to who could not prove anything");
  await browser.storage.local.set({ pasted: `${port}:${key}` });
  await assert.rejects(api.status(), (error) => error.status === 400 && error.message === "No. Try.");
  assert.deepEqual((await browser.storage.session.get("connection")).connection, { port, token: "run", version: "3", way: "pasted" });
  assert.ok(!JSON.stringify(requests).includes(key));
});

test("a program on the daemon's port that does not know the key learns nothing", async () => {
  const { port, requests } = await started("run", {});
  thunderbird();
  await browser.storage.local.set({ pasted: `${port}:key-of-some-length-that-lasts` });
  await assert.rejects(api.status(), (error) => error.trouble === "pasted-wrong");
  assert.deepEqual(requests.map(({ url }) => url), ["/pair"]);
});

test("a mail is shown to the daemon whose token it is, and to nobody else", async () => {
  const stranger = await started("another", { "POST try": [200, { verdict: "keep" }] });
  thunderbird("en", async () => ({ port: stranger.port, token: "of-the-daemon", version: "1" }));
  for (const show of [() => api.tryMail("bWFpbA=="), () => api.teachMail("bWFpbA==", "spam", null)]) {
    await assert.rejects(show(), (error) => error.trouble === "unreachable");
  }
  assert.ok(stranger.requests.length && stranger.requests.every(({ url }) => url === "/prove"));
  const own = await started("run", { "POST try": [200, { verdict: "keep" }] });
  thunderbird("en", async () => ({ port: own.port, token: "run", version: "1" }));
  assert.deepEqual(await api.tryMail("bWFpbA=="), { verdict: "keep" });
});

test("account names cannot leave their place in the path", async () => {
  const { port } = await started("t", { "POST accounts/a%2F..%2Fb/go-on": [200, { text: "ok" }] });
  thunderbird("en", async () => ({ port, token: "t", version: "1" }));
  assert.deepEqual(await api.goOn("a/../b"), { text: "ok" });
});

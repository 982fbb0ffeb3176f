// Thunderbird's `browser`, as far as the modules under test call it; the daemon is a real HTTP server.
import { createHmac, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

globalThis.crypto ??= webcrypto; // node 18

const noHost = () => Promise.reject(new Error("No such native application"));

/** @param {string} locale @param {(host: string, message: any) => Promise<any>} nativeAnswer */
export function thunderbird(locale = "en", nativeAnswer = noHost) {
  const file = new URL(`../_locales/${locale}/messages.json`, import.meta.url);
  const messages = JSON.parse(readFileSync(file, "utf8"));
  const area = () => {
    const kept = {};
    return {
      get: async (key) => (key in kept ? { [key]: structuredClone(kept[key]) } : {}),
      set: async (values) => void Object.assign(kept, structuredClone(values)),
      remove: async (key) => void delete kept[key],
    };
  };
  const asked = [];
  globalThis.browser = {
    i18n: {
      getUILanguage: () => locale,
      getMessage: (key, values = []) =>
        (messages[key]?.message ?? "").replace(/\$(\d|\$)/g, (_, hole) =>
          hole === "$" ? "$" : ([values].flat()[hole - 1] ?? ""),
        ),
    },
    storage: { session: area(), local: area() },
    runtime: {
      sendNativeMessage: async (host, message) => {
        asked.push(host);
        return nativeAnswer(host, message);
      },
    },
  };
  return { asked };
}

/** A daemon's API: answers by "METHOD path"; keeps what it was asked. key: it was paired with that. */
export async function daemon(token, answers, key = "") {
  const requests = [];
  const nonce = "nonce-of-the-daemon-1234";
  const pair = (port, { nonce: theirs, answer, proof }) => {
    const prove = (side) => createHmac("sha256", key).update(`${side} ${port} ${theirs} ${nonce}`).digest("hex");
    if (!key) return [404, {}];
    if (!proof) return [200, { nonce, proof: prove("daemon") }];
    return proof === prove("addon") && answer === nonce ? [200, { token, version: "3" }] : [401, {}];
  };
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { method, url, headers } = request;
    requests.push({ method, url, body: body && JSON.parse(body), headers });
    const allowed = headers.authorization === `Bearer ${token}`;
    if (url === "/pair" || url === "/prove") {
      const { port } = server.address();
      const prove = () => createHmac("sha256", token).update(`run ${port} ${JSON.parse(body).nonce}`).digest("hex");
      const [status, told] = url === "/pair" ? pair(port, JSON.parse(body)) : [200, { proof: prove() }];
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(told));
      return;
    }
    const found = answers[`${method} ${url.replace("/api/v1/", "")}`] ?? [404, {}];
    const [code, value] = allowed ? found : [401, { error: { title: "The token is wrong." } }];
    response.writeHead(code, { "Content-Type": "application/json" }).end(JSON.stringify(value));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const close = () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve)));
  return { requests, port: server.address().port, close };
}

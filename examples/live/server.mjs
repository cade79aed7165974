// Serves the pages, signs tokens, and writes messages and notifications into MongoDB. An application does all of that
// behind its own login.
import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { MongoClient } from "mongodb";

const secret = process.env.LIVE_JWT_SECRET;
if (!secret) throw new Error("set LIVE_JWT_SECRET to what Tailwater has");
const live = process.env.LIVE_URL ?? "http://localhost:3002/live";
const port = Number(process.env.PORT ?? 8080);
// The database is the one that the URI names, as with Tailwater.
const client = await new MongoClient(process.env.MONGODB_URI ?? "mongodb://localhost:27017/dashboard?directConnection=true").connect();
const db = client.db();

/** A token that shows one collection: of messages all, of notifications the user's own. Short-lived, since it travels in a URL. */
function token(user, collection) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + 300, databases: [db.databaseName], collections: [collection] };
  if (collection === "notifications") claims.where = { userId: "$sub" };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return JSON.parse(text);
}

const text = (value) => String(value ?? "").slice(0, 500);

async function answer(request, response) {
  const url = new URL(request.url, "http://localhost");
  const send = (status, type, content) => response.writeHead(status, { "content-type": type }).end(content);
  if (request.method === "GET" && ["/chat.html", "/bell.html"].includes(url.pathname)) {
    return send(200, "text/html; charset=utf-8", await readFile(new URL(`.${url.pathname}`, import.meta.url)));
  }
  if (request.method === "GET" && url.pathname === "/token") {
    const collection = url.searchParams.get("for") === "notifications" ? "notifications" : "messages";
    const allowed = { live, token: token(text(url.searchParams.get("user")), collection) };
    return send(200, "application/json", JSON.stringify(allowed));
  }
  if (request.method === "POST" && url.pathname === "/messages") {
    const { room, user, message } = await body(request);
    await db.collection("messages").insertOne({ room: text(room), user: text(user), message: text(message), at: new Date() });
    return send(204, "text/plain", "");
  }
  if (request.method === "POST" && url.pathname === "/notifications") {
    const { userId, title } = await body(request);
    await db.collection("notifications").insertOne({ userId: text(userId), title: text(title), read: false });
    return send(204, "text/plain", "");
  }
  send(404, "text/plain", "chat.html and bell.html are here");
}

createServer((request, response) => {
  answer(request, response).catch((error) => response.writeHead(500).end(String(error)));
}).listen(port, "localhost", () => console.log(`http://localhost:${port}/chat.html, http://localhost:${port}/bell.html?user=ada`));

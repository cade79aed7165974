// A service that handles each change once: its position is kept in a file, so that it misses nothing while it is away.
//   node client.mjs USER
import { readFile, writeFile } from "node:fs/promises";

const application = process.env.APP_URL ?? "http://localhost:8080";
const user = process.argv[2] ?? "ada";
const kept = `position-${user.replace(/\W/g, "_")}`;
let last = await readFile(kept, "utf8").catch(() => "");
let wait = 1000;

async function follow() {
  const { live, token } = await (await fetch(`${application}/token?for=notifications&user=${encodeURIComponent(user)}`)).json();
  const headers = { authorization: `Bearer ${token}`, ...(last && { "last-event-id": last }) };
  const response = await fetch(`${live}?collection=notifications`, { headers });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  console.error("connected");
  let buffer = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    buffer += chunk;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) await handle(block);
  }
}

async function handle(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => {
    const at = line.indexOf(": ");
    return [line.slice(0, at), line.slice(at + 2)];
  }));
  if (fields.retry) wait = Number(fields.retry);
  if (fields.event === "gap") console.error("some changes are no longer in Kafka: read the collection again");
  if (fields.data && !fields.event) {
    const { operationType, fullDocument } = JSON.parse(fields.data);
    console.log(operationType, fullDocument?.title);
  }
  // After it was handled: at a crash in between it is handled again.
  if (fields.id && fields.id !== last) await writeFile(kept, (last = fields.id));
}

for (;;) {
  await follow().catch((error) => console.error(String(error)));
  await new Promise((done) => setTimeout(done, wait));
}

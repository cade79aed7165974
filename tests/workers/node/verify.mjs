// Verifies calls as a receiver does: the secrets, and then the calls, each with headers and body.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { secrets, calls } = JSON.parse(readFileSync(process.env.CALLS, "utf8"));
for (const { headers, body } of calls) {
  for (const secret of secrets) {
    new Webhook(secret).verify(body, headers);
    let refused = false;
    try {
      new Webhook(secret).verify(body + " ", headers);
    } catch {
      refused = true;
    }
    if (!refused) throw new Error("a body that was changed is taken");
  }
}
console.log(`${calls.length} verified`);

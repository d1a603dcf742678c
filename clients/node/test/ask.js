// Asks the API what each line of its input says, as `[key, method, path, body]`, and prints `[status, reason or answer]`.
import { createInterface } from "node:readline";

import { Client } from "../index.js";

for await (const line of createInterface({ input: process.stdin })) {
  const [key, method, path, body] = JSON.parse(line);
  const told = await new Client({ key }).request(method, path, body ?? undefined).then(
    (found) => [200, found],
    (error) => [error.status, { reason: error.reason, detail: error.message }],
  );
  console.log(JSON.stringify(told));
}

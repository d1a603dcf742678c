// Run by tests/flows/api/test_stack.py on a local stack, or by hand: `node --test` with NILOMETER_URL and NILOMETER_KEY.
import assert from "node:assert/strict";
import test from "node:test";

import { Client, EventsRejected, NilometerError } from "../index.js";

const WORKSPACE = process.env.NILOMETER_WORKSPACE ?? `node-${crypto.randomUUID().slice(0, 8)}`;
const METER = process.env.NILOMETER_METER ?? "api_calls";

test("usage counts once, whatever answers are lost", async () => {
  let asked = 0;
  const unreliable = async (...request) => {
    const answered = await fetch(...request);
    asked += 1;
    if (asked % 2) throw new TypeError("cut");
    return answered;
  };
  const client = new Client({ fetch: unreliable, pause: async () => {} });
  const ids = new Set();
  for (let n = 0; n < 10; n += 1) ids.add(await client.usage.record(WORKSPACE, METER, "0.5"));
  await client.close();
  assert.equal(ids.size, 10);
});

test("what can never count is named", async () => {
  const client = new Client();
  const id = await client.usage.record(WORKSPACE, "nonsense");
  await assert.rejects(client.usage.flush(), (error) => error instanceof EventsRejected && error.events[0].id === id);
  await assert.rejects(client.usage.record(WORKSPACE, METER, -1), { reason: "quantity_invalid" });
  await client.close();
});

test("limits hold", async () => {
  const client = new Client();
  assert.equal((await client.limits.check(WORKSPACE, METER)).allowed, true);
  assert.equal(await client.limits.reserve(WORKSPACE, METER, 6, (held) => ((held.used = 2), "done")), "done");
  await assert.rejects(client.limits.reserve(WORKSPACE, METER, 8, () => { throw new RangeError("x"); }), RangeError);
  await assert.rejects(client.limits.reserve(WORKSPACE, METER, 1000, () => {}), { reason: "limit_reached" });
  await client.close();
});

test("reads and problems", async () => {
  const client = new Client();
  assert.equal((await client.members.list(WORKSPACE))[0].role, "Admin");
  assert.equal(await client.flags.isOn("nonsense", WORKSPACE), false);
  await assert.rejects(client.billing.get(WORKSPACE), { status: 404, reason: "unknown_billing" });
  await assert.rejects(client.act("remove_member", WORKSPACE, { user_id: "ada" }), { status: 409 });
  await assert.rejects(new Client({ key: "nil_key_x_y" }).members.list(WORKSPACE), { status: 401, reason: "unauthenticated" });
});

test("what is rejected is told at once, once, and kept in bounds", async () => {
  const told = [];
  let away = true;
  const answer = async (url, { body }) => {
    if (url.includes("/meters/nonsense")) return new Response(JSON.stringify({ reason: "unknown_meter" }), { status: 404 });
    if (url.includes("/meters/")) return new Response(JSON.stringify({ unit: "call" }));
    if (away) return new Response("{}", { status: 401 });
    assert.equal(JSON.parse(body)[0].source, "/workspaces/a%2Fb");
    return new Response(JSON.stringify({ events: JSON.parse(body).map(({ id }) => ({ id, status: "rejected", reason: "too_old" })) }));
  };
  const client = new Client({ fetch: answer, flushSeconds: 60, onRejected: (events) => (told.push(...events), nonsense()) });
  await client.usage.record("a/b", "nonsense");
  for (let n = 0; n < 1200; n += 1) await client.usage.record("a/b", "calls");
  await assert.rejects(client.usage.flush(), { status: 401 });
  away = false;
  await assert.rejects(client.close(), (error) => error.events.length === 1000 && error.total === 1201);
  assert.equal(told.length, 1201);
});

test("a 404 is no verdict on events: a gateway answers it while it is deployed", async () => {
  for (const away of ["/v1/meters/", "/v1/events"]) {
    let deployed = false;
    const counted = [];
    const answer = async (url, { body }) => {
      if (url.includes(away) && !deployed) return new Response('{"message": "Not Found"}', { status: 404 });
      if (url.includes("/v1/meters/")) return new Response('{"unit": "call"}');
      counted.push(...JSON.parse(body).map(({ id }) => id));
      return new Response(JSON.stringify({ events: JSON.parse(body).map(({ id }) => ({ id, status: "accepted" })) }));
    };
    const client = new Client({ fetch: answer, flushSeconds: 60, onRejected: () => assert.fail("rejected") });
    const ids = [await client.usage.record("a", "calls"), await client.usage.record("a", "calls")];
    await assert.rejects(client.usage.flush(), { status: 404 });
    deployed = true;
    await client.close();
    assert.deepEqual(counted, ids);
  }
});

test("an event that no request can carry holds up no other", async () => {
  const client = new Client();
  for (const meter of ["", "No Slug", "a\ud800", undefined]) {
    await assert.rejects(client.usage.record(WORKSPACE, meter), { reason: "unknown_meter" });
  }
  const wrong = [
    await client.usage.record(WORKSPACE, METER, 1, { id: "half\ud800" }),
    await client.usage.record(WORKSPACE, METER, 1, { dimensions: { plan: "\ud800" } }),
    await client.usage.record(WORKSPACE, METER, 1, { dimensions: { plan: "x".repeat(1_100_000) } }),
  ];
  for (let n = 0; n < 3; n += 1) await client.usage.record(WORKSPACE, METER, "0.5");

  const told = await client.usage.flush().then(() => assert.fail("accepted"), (error) => error);

  assert.deepEqual(told.events.map(({ id }) => id), wrong);
  await client.usage.flush();
  await client.close();
});

test("work's own error is told, also when nothing can be given back", async () => {
  const answer = async (url) => (url.endsWith("/reserve") ? new Response('{"granted": true}') : new Response("{}", { status: 400 }));
  const client = new Client({ fetch: answer });
  await assert.rejects(client.limits.reserve("a", "calls", 1, () => { throw new RangeError("mine"); }), RangeError);
});

test("a closed client leaves nothing behind", async () => {
  const before = process.listenerCount("beforeExit");
  const answer = async (url) => new Response(JSON.stringify(url.includes("/meters/") ? { unit: "call" } : { events: [] }));
  for (let n = 0; n < 20; n += 1) {
    const client = new Client({ fetch: answer });
    await client.usage.record("a", "calls");
    await client.close();
  }
  assert.equal(process.listenerCount("beforeExit"), before);
});

test("a failure that may pass is asked again, others are not", async () => {
  for (const [status, times] of [[503, 4], [429, 4], [500, 1], [400, 1]]) {
    let asked = 0;
    const answer = async () => (asked += 1, new Response("{}", { status }));
    const client = new Client({ fetch: answer, pause: async () => {} });
    await assert.rejects(client.request("GET", "/v1/key"), (error) => error instanceof NilometerError && error.status === status);
    assert.equal(asked, times);
  }
});

// A client of nilometer's HTTP API: fetch alone, no dependency. Quantities are text, so that no digit is lost.

const ATTEMPTS = 4;
const BATCH = 500;
const MILLISECONDS = 35_000; // of one request: the API ends its own after thirty seconds
const SLUG = /^[a-z][a-z0-9_]{0,63}$/;
const WRONG = new Set([400, 413, 422]); // for good, of usage: a 404 says that the API is not there now, not what it was sent
const TOLD = 1000; // rejected events that are kept until a flush names them
const NEW_EACH_TIME = /\/actions\/(notify|report_security|resend_invitation)$/;
const AGAIN = new Set([0, 429, 502, 503, 504]);

/** What the API answered that is no success (RFC 9457). `status` is 0 when there was no answer; then it may be repeated. */
export class NilometerError extends Error {
  constructor(status, reason, detail) {
    super(detail);
    this.name = "NilometerError";
    this.status = status;
    this.reason = reason;
    this.again = AGAIN.has(status);
  }
}

/** Usage events that can never be counted: the first thousand of `total`; all others were accepted. */
export class EventsRejected extends NilometerError {
  constructor(events, total) {
    super(200, "events_rejected", `${total} usage events are rejected (${events[0].id}: ${events[0].reason})`);
    this.events = events;
    this.total = total;
  }
}

export class Client {
  #url;
  #key;
  #fetch;
  #pause;

  /** Of `url` and `key`, else of NILOMETER_URL and NILOMETER_KEY. `onRejected` is called with the events that the API rejected, as soon as it has. */
  constructor({ url, key, source, capacity = 10_000, flushSeconds = 1, onRejected, fetch = globalThis.fetch, pause = wait } = {}) {
    this.#url = (url ?? process.env.NILOMETER_URL ?? "").replace(/\/$/, "");
    this.#key = key ?? process.env.NILOMETER_KEY;
    if (!this.#url || !this.#key) throw new NilometerError(401, "misconfigured", "set NILOMETER_URL and NILOMETER_KEY");
    this.#fetch = fetch;
    this.#pause = pause;
    this.usage = new Usage(this, { source, capacity, flushSeconds, onRejected });
    this.limits = new Limits(this);
    this.billing = { get: (workspace) => this.request("GET", `/v1/workspaces/${part(workspace)}/billing`) };
    this.members = { list: (workspace) => this.list(`/v1/workspaces/${part(workspace)}/members`) };
    this.flags = { isOn: (flag, workspace) => this.#isOn(flag, workspace) };
  }

  /** Every action of the API by its name; `workspace` null for one that concerns all. */
  act(name, workspace, fields = {}) {
    const path = workspace ? `/v1/workspaces/${part(workspace)}/actions/${part(name)}` : `/v1/actions/${part(name)}`;
    return this.request("POST", path, fields);
  }

  /** All items of a list, page by page. */
  async list(path) {
    const found = [];
    for (let next = ""; next !== null; ) {
      const page = await this.request("GET", next ? `${path}?cursor=${part(next)}` : path);
      found.push(...page.items);
      next = page.next;
    }
    return found;
  }

  /** The answer as JSON, or `NilometerError`. What may pass is asked again a few times, with the same ids. */
  async request(method, path, body) {
    const headers = { authorization: `Bearer ${this.#key}`, "content-type": "application/json" };
    if (method === "POST" && path.includes("/actions/")) headers["idempotency-key"] = newId();
    const content = body === undefined ? undefined : JSON.stringify(body);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(method, path, headers, content);
      } catch (error) {
        if (!error.again || attempt >= ATTEMPTS || NEW_EACH_TIME.test(path)) throw error;
        await this.#pause(100 * 2 ** attempt * (0.5 + Math.random() / 2));
      }
    }
  }

  /** Sends what was recorded. */
  close() {
    return this.usage.close();
  }

  async #once(method, path, headers, body) {
    let answered;
    let text;
    try {
      const signal = AbortSignal.timeout(MILLISECONDS);
      answered = await this.#fetch(this.#url + path, { method, headers, body, signal });
      text = await answered.text();
    } catch {
      throw new NilometerError(0, "no_answer", "the API does not answer");
    }
    const found = json(text);
    if (answered.ok && found !== undefined) return found;
    throw new NilometerError(answered.status, found?.reason ?? "unknown", found?.detail ?? `the API answered ${answered.status}`);
  }

  async #isOn(flag, workspace) {
    const context = { workspace_id: workspace };
    return (await this.request("POST", `/ofrep/v1/evaluate/flags/${part(flag)}`, { context })).value;
  }
}

class Usage {
  #client;
  #options;
  #waiting = [];
  #rejected = [];
  #untold = 0;
  #units = new Map();
  #flushing = null;
  #timer = null;
  #atExit = () => this.#flush().catch(() => {});

  constructor(client, options) {
    this.#client = client;
    this.#options = options;
  }

  /** The event's id, made when none is given: the event counts once, however often it is sent. Waits when the buffer is full. */
  async record(workspace, meter, quantity = 1, { id = newId(), time = new Date(), dimensions, source } = {}) {
    if (typeof meter !== "string" || !SLUG.test(meter)) throw new NilometerError(400, "unknown_meter", "this is no meter's slug");
    while (this.#waiting.length >= this.#options.capacity) await this.#flush();
    const data = { meter, quantity: amount(quantity), ...(dimensions ? { dimensions } : {}) };
    const from = source ?? this.#options.source ?? sourceOf(workspace);
    this.#waiting.push({ specversion: "1.0", id, source: from, type: "usage.recorded.v1", subject: workspace, time: time.toISOString(), data });
    this.#start();
    return id;
  }

  /** Returns when all is durably queued; `EventsRejected` names what can never be counted. */
  async flush() {
    await this.#flush();
    const told = this.#rejected.splice(0);
    const total = this.#untold;
    this.#untold = 0;
    if (told.length) throw new EventsRejected(told, total);
  }

  /** What was used in this billing period, by meter. */
  async get(workspace) {
    return (await this.#client.request("GET", `/v1/workspaces/${part(workspace)}/usage`)).items;
  }

  async close() {
    clearInterval(this.#timer);
    this.#timer = null;
    globalThis.process?.off?.("beforeExit", this.#atExit);
    await this.flush();
  }

  // The timer keeps no process alive; what waits when all else is done is sent then.
  #start() {
    if (this.#timer) return;
    this.#timer = setInterval(() => this.#flush().catch(() => {}), this.#options.flushSeconds * 1000);
    this.#timer.unref?.();
    globalThis.process?.once?.("beforeExit", this.#atExit);
  }

  async #flush() {
    while (this.#flushing) await this.#flushing;
    this.#flushing = this.#send().finally(() => {
      this.#flushing = null;
    });
    await this.#flushing;
  }

  async #send() {
    while (this.#waiting.length) {
      const taken = this.#waiting.slice(0, BATCH);
      const ready = [];
      const rejected = [];
      for (const event of taken) {
        const unit = await this.#unit(event.data.meter);
        if (unit) ready.push({ ...event, data: { ...event.data, unit } });
        else rejected.push({ id: event.id, reason: "unknown_meter", message: "there is no such meter" });
      }
      const answers = ready.length ? await this.#posted(ready) : [];
      rejected.push(...answers.filter((one) => one.status === "rejected"));
      this.#waiting.splice(0, taken.length);
      this.#keep(rejected);
    }
  }

  // What is wrong for good as a whole is sent in halves: one event must not hold up those beside it.
  async #posted(events) {
    try {
      return (await this.#client.request("POST", "/v1/events", events)).events;
    } catch (error) {
      if (!WRONG.has(error.status)) throw error;
      if (events.length === 1) return [{ id: events[0].id, status: "rejected", reason: error.reason, message: error.message }];
    }
    const half = Math.floor(events.length / 2);
    return [...(await this.#posted(events.slice(0, half))), ...(await this.#posted(events.slice(half)))];
  }

  // What the callback throws holds up nothing.
  #keep(rejected) {
    this.#untold += rejected.length;
    this.#rejected.push(...rejected.slice(0, TOLD - this.#rejected.length));
    if (!rejected.length) return;
    try {
      this.#options.onRejected?.(rejected);
    } catch (error) {
      console.warn(`nilometer: onRejected failed: ${error?.name}`);
    }
  }

  async #unit(meter) {
    if (!this.#units.has(meter)) {
      try {
        this.#units.set(meter, (await this.#client.request("GET", `/v1/meters/${part(meter)}`)).unit);
      } catch (error) {
        if (error.reason !== "unknown_meter") throw error;
        return undefined;
      }
    }
    return this.#units.get(meter);
  }
}

class Limits {
  #client;

  constructor(client) {
    this.#client = client;
  }

  /** Whether so much more may be used, by what was counted; it holds nothing. */
  check(workspace, meter, quantity = 1) {
    return this.#ask(workspace, meter, "check", { quantity: amount(quantity) });
  }

  /**
   * Holds a part of a hard limit while `work(held)` runs, and reports `held.used` of it, all when that is not set; after
   * an error it is given back. `NilometerError` with `limit_reached` when too little is left.
   */
  async reserve(workspace, meter, quantity, work, { id = newId(), seconds = 300 } = {}) {
    const body = { id, quantity: amount(quantity), ttl_seconds: seconds };
    const { granted } = await this.#ask(workspace, meter, "reserve", body);
    if (!granted) throw new NilometerError(409, "limit_reached", `the limit of ${meter} is reached in ${workspace}`);
    const held = { id, used: quantity };
    let done;
    try {
      done = await work(held);
    } catch (error) {
      await this.#ask(workspace, meter, "release", { id }).catch(() => {}); // it ends by itself; `error` is what matters
      throw error;
    }
    await this.#ask(workspace, meter, "settle", { id, quantity: amount(held.used), time: new Date().toISOString() });
    return done;
  }

  #ask(workspace, meter, verb, body) {
    return this.#client.request("POST", `/v1/workspaces/${part(workspace)}/limits/${part(meter)}/${verb}`, body);
  }
}

function amount(quantity) {
  const text = String(quantity);
  if (!/^[0-9]{1,15}(\.[0-9]{1,9})?$/.test(text)) throw new NilometerError(400, "quantity_invalid", "a quantity is a decimal that is not negative");
  return text;
}

/** One segment of a path, so that "acme" has no source of "acme/b". */
function sourceOf(workspace) {
  return `/workspaces/${workspace.replaceAll("%", "%25").replaceAll("/", "%2F")}`;
}

function part(text) {
  if (!text) throw new NilometerError(400, "invalid_schema", "a part of the path is empty");
  return encodeURIComponent(text);
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function newId() {
  return globalThis.crypto.randomUUID();
}

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

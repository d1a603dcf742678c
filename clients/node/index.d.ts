// Types of the client, by hand; those of the answers are in api.d.ts, which docs/generate.py makes.
import type { BillingAnswer, CheckAnswer, EventAnswer, MemberAnswer, UsageAnswer } from "./api.js";

export type Quantity = string | number | bigint;

export interface ClientOptions {
  url?: string;
  key?: string;
  /** Of usage events; else their workspace. A key of a workspace has no choice. */
  source?: string;
  /** Events that wait before `record` does. */
  capacity?: number;
  flushSeconds?: number;
  onRejected?: (events: EventAnswer[]) => void;
  fetch?: typeof fetch;
  pause?: (milliseconds: number) => Promise<void>;
}

export interface EventOptions {
  id?: string;
  time?: Date;
  dimensions?: Record<string, string>;
  source?: string;
}

export interface Held {
  readonly id: string;
  /** How much is reported at the end; all of it when it is not set. */
  used: Quantity;
}

export class NilometerError extends Error {
  /** HTTP's; 0 when there was no answer. */
  readonly status: number;
  readonly reason: string;
  /** Whether the same request may pass later. */
  readonly again: boolean;
}

export class EventsRejected extends NilometerError {
  /** The first thousand of `total`. */
  readonly events: EventAnswer[];
  readonly total: number;
}

export class Client {
  constructor(options?: ClientOptions);
  readonly usage: {
    record(workspace: string, meter: string, quantity?: Quantity, options?: EventOptions): Promise<string>;
    flush(): Promise<void>;
    get(workspace: string): Promise<UsageAnswer[]>;
  };
  readonly limits: {
    check(workspace: string, meter: string, quantity?: Quantity): Promise<CheckAnswer>;
    reserve<T>(
      workspace: string,
      meter: string,
      quantity: Quantity,
      work: (held: Held) => T | Promise<T>,
      options?: { id?: string; seconds?: number },
    ): Promise<T>;
  };
  readonly billing: { get(workspace: string): Promise<BillingAnswer> };
  readonly members: { list(workspace: string): Promise<MemberAnswer[]> };
  readonly flags: { isOn(flag: string, workspace: string): Promise<boolean> };
  act(name: string, workspace: string | null, fields?: Record<string, unknown>): Promise<any>;
  list(path: string): Promise<any[]>;
  request(method: string, path: string, body?: unknown): Promise<any>;
  close(): Promise<void>;
}

// Made by docs/generate.py from the API's types. Decimals are text, so that no digit is lost.

/** Billing of a workspace, as Stripe's events left it. `limits` is what is included by meter, null for no end; `limit_rules` has the whole rule. `access` is full, grace or none. */
export interface BillingAnswer {
  workspace: string;
  status: string;
  access: string;
  plan: string | null;
  seats: number | null;
  features: string[];
  limits: Record<string, string | null>;
  limit_rules: Record<string, Record<string, unknown>>;
  subscription: string | null;
  subscriptions: (Record<string, unknown>)[];
  current_period_start?: number | null;
  current_period_end?: number | null;
  trial_end?: number | null;
  cancel_at_period_end?: boolean;
  delinquent?: boolean;
  mode?: string | null;
}

/** `size` is held under `id` until it is settled or released: 0 when less is left than was asked for, null where nothing limits it. */
export interface BlockAnswer {
  id: string;
  size: string | null;
}

/** What is left of a limit. `used` is what was counted by `as_of`; usage in flight is not in it. */
export interface CheckAnswer {
  allowed: boolean;
  state: string;
  used: string;
  included: string | null;
  remaining: string | null;
  period_start: string;
  resets_at: string;
  as_of: string;
  source: string | null;
}

/** What became of one event: `accepted`, `duplicate` or `rejected`, and then why. */
export interface EventAnswer {
  status: string;
  id?: string | null;
  reason?: string | null;
  message?: string | null;
}

/** How many events are durably queued, and the answer to each in their order. */
export interface EventsAnswer {
  accepted: number;
  events: EventAnswer[];
}

/** One flag by OFREP. */
export interface FlagAnswer {
  key: string;
  value: boolean;
  variant: string;
  reason: string;
  metadata: Record<string, unknown>;
}

/** Every flag by OFREP. */
export interface FlagsAnswer {
  flags: FlagAnswer[];
}

/** An endpoint without its secret. `types` empty is all; `off` says why nothing is sent, null that it is on. */
export interface HookAnswer {
  id: string;
  workspace_id: string;
  url: string;
  types: string[];
  off: string | null;
  failing_since: string | null;
  created_at: string;
  secret_id: string;
  rotating_until: string | null;
}

/** An invitation, without its token. */
export interface InvitationAnswer {
  id: string;
  workspace_id: string;
  email: string;
  role: string;
  status: string;
  invited_by: string;
  created_at: string;
  valid_until: string;
  user_id?: string | null;
}

/** Who asks: a key or a member; `workspace_id` is null for a service key. */
export interface KeyAnswer {
  actor: string;
  workspace_id: string | null;
}

/** Limits in effect by meter, and each override and grant of the workspace itself. */
export interface LimitsAnswer {
  items: (Record<string, unknown>)[];
  own: (Record<string, unknown>)[];
  next: string | null;
}

/** A member of a workspace and the role. */
export interface MemberAnswer {
  workspace_id: string;
  user_id: string;
  role: string;
  joined_at: string;
  sessions_after?: string;
}

/** What a meter counts, and in which unit. */
export interface MeterAnswer {
  meter: string;
  unit: string;
  aggregation: string;
  dimensions: string[];
  active: boolean;
}

/** A notification of a person. */
export interface NotificationAnswer {
  notification_id: string;
  topic: string;
  title: string;
  unread: boolean;
  created_at: string;
  text?: string;
  link?: string | null;
  workspace_id?: string | null;
}

/** A version of a policy that is in force. */
export interface PolicyAnswer {
  policy: string;
  number: number;
  url: string;
  material: boolean;
  effective_at: string;
}

/** Whether something was given back: not when it had ended before. */
export interface ReleaseAnswer {
  released: boolean;
}

/** `remaining` is what could still be reserved when it was refused; null where nothing limits it. */
export interface ReserveAnswer {
  granted: boolean;
  remaining: string | null;
}

/** How many rows are durably queued, as one batch. */
export interface RowsAnswer {
  accepted: number;
}

/** A session; its id opens nothing. */
export interface SessionAnswer {
  id: string;
  workspace_id: string;
  user_id: string;
  created_at: string;
  expires_at: string;
}

/** The usage event of a reservation is durably queued. */
export interface SettleAnswer {
  settled: boolean;
}

/** One meter in the billing period of now. `limit` is what is included, else the hard limit; null is no limit. */
export interface UsageAnswer {
  meter: string;
  unit: string;
  used: string;
  count: number;
  limit: string | null;
  hard: string | null;
  binding: string | null;
  state: string;
  period_start: string;
  period_end: string;
  closed: boolean;
  late_delta: string | null;
  late_count: number;
  stale: boolean;
}

/** A workspace. Times are RFC 3339. */
export interface WorkspaceAnswer {
  workspace_id: string;
  name?: string | null;
  slug?: string | null;
  status?: string | null;
  shards?: number | null;
  created_at?: string | null;
  updated_at?: string | null;
  deleted_until?: string | null;
  admins?: number | null;
}

"""Questions about money, on the tables of Stripe's objects, in SQL that engines have in common.

Only `getvariable('as_of')`, `getvariable('since')` and `getvariable('account')` are DuckDB's: elsewhere a literal
stands in their place (`portable`). Each is of one account, and of the mode that counts in it. Recurring revenue is
counted as docs/metrics.md says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.lake.metrics.dialects import DUCKDB, Dialect
from nilometer.lake.metrics.metrics import text_literal
from nilometer.lake.metrics.period import instant_literal
from nilometer.lake.metrics.recurring import RECURRING
from nilometer.lake.metrics.states import COUNTED, MODE, PAID_AT, SECONDS, SUBSCRIPTIONS, latest
from nilometer.lake.tables.order import BOOK_ORDER, newest_first


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A prepared query: its name, its answer, and its SQL in DuckDB's dialect; `said` for other dialects."""

    name: str
    question: str
    sql: str = ""
    said: Callable[[Dialect], str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.said:
            object.__setattr__(self, "sql", self.said(DUCKDB))

    def portable(self, dialect: Dialect, *, since: datetime, as_of: datetime, account: str = OWN_ACCOUNT) -> str:
        """The SQL of an engine, with its two times and the account as literals."""
        text = self.said(dialect) if self.said else self.sql
        text = text.replace("getvariable('as_of')", instant_literal(as_of))
        text = text.replace("getvariable('since')", instant_literal(since))
        return text.replace("getvariable('account')", text_literal(account))


def of_account(parts: str) -> str:
    """With all that is known by now, until the time that is asked about, of the account that is asked for."""
    return parts.format(
        known="timestamp '9999-12-31 00:00:00+00:00'", until="getvariable('as_of')", account="getvariable('account')"
    )


_OF_SUBSCRIPTION = """
        left join owners
          on {0}.account = owners.account and {0}.livemode = owners.livemode and {0}.{1} = owners.object_id
        left join workspaces
          on owners.account = workspaces.account and owners.livemode = workspaces.livemode
          and owners.customer_id = workspaces.object_id"""

_LIVES = f"""
    lives as (
      select account, livemode, subscription_id, moment, currency, change,
             sum(change) over (partition by account, livemode, subscription_id order by moment
                               rows between unbounded preceding and current row) as mrr,
             row_number() over (partition by account, livemode, subscription_id order by moment) as nth
      from steps where change <> 0),
    named as (
      select lives.moment as created_at, cast(date_trunc('month', lives.moment) as date) as month, lives.currency,
             case when nth = 1 then 'new' when mrr = change then 'reactivation' when mrr = 0 then 'churn'
                  when change > 0 then 'expansion' else 'contraction' end as movement,
             lives.change, lives.subscription_id as subscription,
             coalesce(owners.workspace_id, workspaces.workspace_id) as workspace_id, points.cause
      from lives
      join points on lives.account = points.account and lives.livemode = points.livemode
        and lives.subscription_id = points.subscription_id and lives.moment = points.moment
      {_OF_SUBSCRIPTION.format("lives", "subscription_id")})"""
"""named: every change of a subscription's recurring revenue."""

_SAID = "{0} as told left join invoices_history as said on told.event_id = said.cause and told.account = said.account"

_TOLD = f"""told_events as (
          select account, event_id, type, object_id, customer_id, workspace_id, created, created_at from stripe_events
          where {COUNTED})"""
"""Without their payloads: an engine may keep what two parts ask for."""

_ALL = (
    Recipe(
        name="subscriptions",
        question="What was the state of every subscription as of a time?",
        sql=of_account(f"""
        with {MODE},{SECONDS.replace("{name}", "subscriptions")},{SUBSCRIPTIONS}
        select states.object_id as subscription, owners.customer_id,
               coalesce(owners.workspace_id, workspaces.workspace_id) as workspace_id,
               case when states.deleted then 'canceled' else states.status end as status, states.begins as since
        from states {_OF_SUBSCRIPTION.format("states", "object_id")}
        where states.begins < {{until}} and (states.ends is null or states.ends >= {{until}})
        order by subscription"""),
    ),
    Recipe(
        name="mrr",
        question="What is the monthly recurring revenue, per currency, less discounts (minor units)?",
        sql=of_account(f"""
        with {RECURRING},
        newest as (
          select *, row_number() over (partition by account, livemode, subscription_id order by moment desc) as recency
          from subscription_mrr)
        select known.currency, cast(sum(newest.mrr) as bigint) as mrr,
               count(case when newest.mrr > 0 then 1 end) as paying_subscriptions
        from newest join subscription_currency as known
          on newest.account = known.account and newest.livemode = known.livemode
          and newest.subscription_id = known.subscription_id
        where newest.recency = 1 and known.currency is not null
        group by known.currency order by known.currency"""),
    ),
    Recipe(
        name="mrr-movement",
        question="How did it move: new, expansion, contraction, churn, reactivation, by month (minor units)?",
        sql=of_account(f"""
        with {RECURRING},{_LIVES}
        select month, currency, movement, cast(sum(change) as bigint) as mrr, count(*) as subscriptions
        from named group by month, currency, movement order by month, currency, movement"""),
    ),
    Recipe(
        name="mrr-events",
        question="Which event of which subscription moved it, and by how much (minor units)?",
        sql=of_account(f"""
        with {RECURRING},{_LIVES}
        select created_at, month, currency, movement, cast(change as bigint) as mrr, subscription, workspace_id,
               cause as event_id
        from named order by created_at, subscription, movement"""),
    ),
    Recipe(
        name="failed-payments",
        question="Which invoices could not be paid, how often, and which recovered after how long?",
        sql=of_account(f"""
        with {MODE},
        {_TOLD},
        failed as (
          select told.object_id as invoice, max(told.customer_id) as customer_id, max(said.amount_due) as amount,
                 max(said.currency) as currency, count(*) as failures, min(told.created_at) as first_failed,
                 min(told.created) as failed_second
          from {_SAID.format("told_events")} and said.origin = 'snapshot'
          where told.type = 'invoice.payment_failed'
            and told.created_at between getvariable('since') and getvariable('as_of')
          group by told.object_id),
        paid as (
          select object_id as invoice, min(created_at) as paid_at, min(created) as paid_second from told_events
          where type = 'invoice.paid' and created_at <= getvariable('as_of') group by object_id)
        select failed.invoice, customer_id, amount, currency, failures, first_failed, paid_at,
               paid_at is not null as recovered,
               paid_second - failed_second as after_seconds
        from failed left join paid on failed.invoice = paid.invoice order by first_failed, failed.invoice"""),
    ),
    Recipe(
        name="revenue",
        question="How much was paid, per month and currency (minor units)?",
        sql=of_account(f"""
        with {MODE},{latest("invoices", "status in ('paid', 'void')")},
        paid as (
          select {PAID_AT} as moment, currency, amount_paid
          from invoices_latest where status = 'paid' and not deleted and amount_paid is not null)
        select cast(date_trunc('month', moment) as date) as month, currency, cast(sum(amount_paid) as bigint) as paid,
               count(*) as invoices
        from paid where moment <= {{until}}
        group by cast(date_trunc('month', moment) as date), currency order by month, currency"""),
    ),
    Recipe(
        name="revenue-events",
        question="Which event reported which paid invoice, and of how much (minor units)?",
        sql=of_account(f"""
        with {MODE},
        {_TOLD}
        select told.created_at, cast(date_trunc('month', told.created_at) as date) as month, said.currency,
               said.amount_paid as paid, told.object_id as invoice, told.workspace_id, told.event_id
        from {_SAID.format("told_events")} and said.origin = 'snapshot'
        where told.type = 'invoice.paid' and told.created_at <= getvariable('as_of')
        order by told.created_at, told.event_id"""),
    ),
    Recipe(
        name="receivables",
        question="Which invoices are open as of a time, since when, and what remains to be paid (minor units)?",
        sql=of_account(f"""
        with {MODE},
        newest as (
          select *, row_number() over (
            partition by account, livemode, object_id order by {newest_first(BOOK_ORDER)}) as recency
          from invoices_history where origin <> 'snapshot' and valid_from <= {{until}} and {COUNTED})
        select coalesce(finalized_at, created_at) as since, object_id as invoice, customer_id, currency, due_date,
               amount_due as due, amount_remaining as remaining
        from newest where recency = 1 and status = 'open' and not deleted and amount_remaining > 0
        order by since, invoice"""),
    ),
)

MONEY = {recipe.name: recipe for recipe in _ALL}
"""By name."""

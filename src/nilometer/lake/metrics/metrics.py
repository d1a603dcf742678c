"""The metrics by name: what each answers, and its SQL as of a period and as known at a time. Rules: docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time

from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.lake.metrics.period import MetricPeriod, calendar, instant_literal
from nilometer.lake.metrics.recurring import EXPLAINED, RECURRING
from nilometer.lake.metrics.states import COUNTED, MODE, PAID_AT, WHOSE, latest


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure with a rule. `parts` are common table expressions, `select` the question over them.

    In both `{known}`, `{since}`, `{until}`, `{days}`, `{months}`, `{account}` and `{workspace}` (a condition on a
    column `workspace_id`) are filled in. A row is named by `keys` and its currency; `money` are columns of minor units
    of it, and `day` dates their exchange rate.
    """

    name: str
    question: str
    parts: str
    select: str
    keys: tuple[str, ...]
    money: tuple[str, ...]
    counts: tuple[str, ...] = ()
    day: str = "month"

    @property
    def columns(self) -> tuple[str, ...]:
        """Of a row in one currency."""
        return (*self.keys, "currency", *self.money, *self.counts)

    def sql(self, period: MetricPeriod, workspace: str | None = None, account: str = OWN_ACCOUNT) -> str:
        """One statement over the tables of history, of the money of one account: the platform's own, or a connected
        one."""
        return self.filled(
            known=instant_literal(period.known_at),
            since=instant_literal(datetime.combine(period.first, time(), UTC)),
            until=instant_literal(min(period.until, period.known_at)),
            days=calendar(period.days()),
            months=calendar(period.months(), months=True, until=period.until),
            account=text_literal(account),
            workspace="true" if workspace is None else f"workspace_id = {text_literal(workspace)}",
        )

    def filled(self, **values: str) -> str:
        """The statement with these texts in place of `{known}`, `{since}`, `{until}`, `{days}`, `{months}`,
        `{account}` and `{workspace}`."""
        return f"with{self.parts}\n{self.select.strip()}".format(**values)


def text_literal(text: str) -> str:
    """A string of standard SQL. Spark leaves a quote inside it out."""
    return "'" + text.replace("'", "''") + "'"


_MONTHS = "(values {months}) as months (month, begins, ends)"
_BY_CUSTOMER = f"""
    standings as (
      select months.month, movements.currency, movements.account, movements.livemode, movements.customer_id,
             sum(case when movements.moment < months.begins then movements.change else 0 end) as at_begin,
             sum(case when movements.moment < months.ends then movements.change else 0 end) as at_end,
             sum(case when movements.moment >= months.begins and movements.moment < months.ends
                       and movements.movement in ('churn', 'contraction') then -movements.change else 0 end) as lost,
             cast(date_trunc('month', min(movements.moment)) as date) as cohort
      from {_MONTHS} join movements on movements.moment < months.ends
      where {{workspace}}
      group by months.month, movements.currency, movements.account, movements.livemode, movements.customer_id)"""

_INVOICES = MODE + "," + latest("invoices", "status in ('paid', 'void')")
_NOTES = latest("credit_notes", "status = 'void'")
_PAYMENTS = latest("invoice_payments", "status = 'paid'")
_SERVICES = "'stripe_fee', 'stripe_fx_fee', 'tax_fee', 'network_cost'"
_FEE = f"case when type in ({_SERVICES}) then fee - amount else fee end"
"""Of an entry in the balance: what it was charged, or what it is where it is a fee itself."""
_OWNED = (
    "left join whose on {0}.account = whose.account and {0}.livemode = whose.livemode "
    "and {0}.customer_id = whose.customer_id"
)

_ALL = (
    Metric(
        name="mrr_movements",
        question="How did monthly recurring revenue move: new, expansion, contraction, churn, reactivation?",
        parts=RECURRING,
        select="""
select cast(date_trunc('month', moment) as date) as month, currency, movement,
       cast(sum(change) as bigint) as mrr, count(*) as movements
from movements where moment >= {since} and moment < {until} and {workspace}
group by cast(date_trunc('month', moment) as date), currency, movement
order by month, currency, movement""",
        keys=("month", "movement"),
        money=("mrr",),
        counts=("movements",),
    ),
    Metric(
        name="mrr_daily",
        question="What was monthly recurring revenue at the end of each day, and of how many customers?",
        parts=RECURRING,
        select="""
select days.day, currency, cast(sum(change) as bigint) as mrr,
       cast(sum(case when movement in ('new', 'reactivation') then 1 when movement = 'churn' then -1 else 0 end)
            as bigint) as customers
from (values {days}) as days (day, begins, ends) join movements on movements.moment < days.ends
where {workspace}
group by days.day, currency order by days.day, currency""",
        keys=("day",),
        money=("mrr",),
        counts=("customers",),
        day="day",
    ),
    Metric(
        name="churn",
        question="How many customers and how much recurring revenue were lost in each month?",
        parts=f"{RECURRING},{_BY_CUSTOMER}",
        select="""
select month, currency, sum(case when at_begin > 0 then 1 else 0 end) as customers,
       sum(case when at_begin > 0 and at_end = 0 then 1 else 0 end) as churned_customers,
       cast(sum(at_begin) as bigint) as mrr, cast(sum(lost) as bigint) as churned_mrr
from standings group by month, currency
having sum(at_begin) > 0 or sum(lost) > 0
order by month, currency""",
        keys=("month",),
        money=("mrr", "churned_mrr"),
        counts=("customers", "churned_customers"),
    ),
    Metric(
        name="cohorts",
        question="Of the customers who began in a month, how many pay how much in each later month?",
        parts=f"{RECURRING},{_BY_CUSTOMER}",
        select="""
select cohort, month, currency, count(*) as customers, sum(case when at_end > 0 then 1 else 0 end) as paying,
       cast(sum(at_end) as bigint) as mrr
from standings group by cohort, month, currency order by cohort, month, currency""",
        keys=("cohort", "month"),
        money=("mrr",),
        counts=("customers", "paying"),
    ),
    Metric(
        name="revenue",
        question="How much was paid, refunded, disputed and kept by Stripe as fees in each month?",
        parts=f"""{_INVOICES},{latest("refunds")},{latest("disputes")},{latest("balance_transactions")},{WHOSE},
    intents as (
      select account, livemode, payment_intent_id from invoice_payments_history
      where payment_intent_id is not null and known_at <= {{known}} and {COUNTED}
      group by account, livemode, payment_intent_id),
    payers as (
      select charges.account, charges.livemode, charges.object_id as charge_id,
             max(charges.customer_id) as customer_id,
             max(case when charges.invoice_id is not null or charges.payment_intent_id is null
                      or intents.payment_intent_id is not null or payments.known = 0 then 1 else 0 end) as invoiced
      from charges_history as charges cross join (select count(*) as known from intents) as payments
      left join intents
        on charges.account = intents.account and charges.livemode = intents.livemode
        and charges.payment_intent_id = intents.payment_intent_id
      where charges.known_at <= {{known}} group by charges.account, charges.livemode, charges.object_id),
    sources as (
      select account, livemode, charge_id as source_id, charge_id from payers
      union all select account, livemode, object_id, charge_id from refunds_latest
      union all select account, livemode, object_id, charge_id from disputes_latest),
    money as (
      select account, livemode, customer_id, currency, {PAID_AT} as moment, amount_paid as paid,
             0 as refunded, 0 as disputed, 0 as fees
      from invoices_latest where status = 'paid' and not deleted
      union all
      select refunds.account, refunds.livemode, payers.customer_id, currency, created_at, 0, amount, 0, 0
      from refunds_latest as refunds left join payers
        on refunds.account = payers.account and refunds.livemode = payers.livemode
        and refunds.charge_id = payers.charge_id
      where status not in ('failed', 'canceled') and coalesce(payers.invoiced, 1) = 1
      union all
      select disputes.account, disputes.livemode, payers.customer_id, currency, created_at, 0, 0, amount, 0
      from disputes_latest as disputes left join payers
        on disputes.account = payers.account and disputes.livemode = payers.livemode
        and disputes.charge_id = payers.charge_id
      where status not in ('won', 'prevented', 'warning_needs_response', 'warning_under_review', 'warning_closed')
        and coalesce(payers.invoiced, 1) = 1
      union all
      select entries.account, entries.livemode, payers.customer_id, currency, created_at, 0, 0, 0,
             {_FEE}
      from balance_transactions_latest as entries left join sources
        on entries.account = sources.account and entries.livemode = sources.livemode
        and entries.source_id = sources.source_id
      left join payers
        on sources.account = payers.account and sources.livemode = payers.livemode
        and sources.charge_id = payers.charge_id
      where {_FEE} <> 0 and coalesce(payers.invoiced, 1) = 1),
    owned as (
      select money.*, whose.workspace_id from money {_OWNED.format("money")})""",
        select="""
select cast(date_trunc('month', moment) as date) as month, currency, cast(sum(paid) as bigint) as paid,
       cast(sum(refunded) as bigint) as refunded, cast(sum(disputed) as bigint) as disputed,
       cast(sum(fees) as bigint) as fees, cast(sum(paid - refunded - disputed - fees) as bigint) as net
from owned where moment >= {since} and moment < {until} and {workspace}
group by cast(date_trunc('month', moment) as date), currency order by month, currency""",
        keys=("month",),
        money=("paid", "refunded", "disputed", "fees", "net"),
    ),
    Metric(
        name="receivables",
        question="What was owed at the end of each month, and what of it was overdue?",
        parts=f"""{_INVOICES},{_NOTES},{_PAYMENTS},{WHOSE},
    notes as (
      select months.month, credit_notes.account, credit_notes.livemode, credit_notes.invoice_id,
             sum(case when type = 'mixed' then coalesce(pre_payment_amount, 0) else credit_notes.amount end) as amount
      from {_MONTHS} join credit_notes_latest as credit_notes on credit_notes.created_at >= months.ends
      where type in ('pre_payment', 'mixed') and status <> 'void'
      group by months.month, credit_notes.account, credit_notes.livemode, credit_notes.invoice_id),
    payments as (
      select months.month, invoice_payments.account, invoice_payments.livemode, invoice_payments.invoice_id,
             sum(case when paid_at < months.ends then amount_paid else 0 end) as earlier,
             sum(case when paid_at < months.ends then 0 else amount_paid end) as later
      from {_MONTHS} join invoice_payments_latest as invoice_payments on invoice_payments.status = 'paid'
      group by months.month, invoice_payments.account, invoice_payments.livemode, invoice_payments.invoice_id),
    owed as (
      select months.month, months.ends, invoices.currency, invoices.due_date, whose.workspace_id,
             case when invoices.status = 'open' then invoices.amount_remaining + coalesce(payments.later, 0)
                  else invoices.amount_due - coalesce(payments.earlier, 0) end
             + coalesce(notes.amount, 0) as amount
      from {_MONTHS}
      join invoices_latest as invoices
        on invoices.finalized_at < months.ends and not invoices.deleted
        and (invoices.status <> 'paid' or {PAID_AT} >= months.ends)
        and (invoices.voided_at is null or invoices.voided_at >= months.ends)
        and (invoices.marked_uncollectible_at is null or invoices.marked_uncollectible_at >= months.ends)
      left join notes on months.month = notes.month and invoices.account = notes.account
        and invoices.livemode = notes.livemode and invoices.object_id = notes.invoice_id
      left join payments on months.month = payments.month and invoices.account = payments.account
        and invoices.livemode = payments.livemode and invoices.object_id = payments.invoice_id
      {_OWNED.format("invoices")})""",
        select="""
select month, currency, cast(sum(amount) as bigint) as owed,
       cast(sum(case when due_date < ends then amount else 0 end) as bigint) as overdue, count(*) as invoices
from owed where amount > 0 and {workspace} group by month, currency order by month, currency""",
        keys=("month",),
        money=("owed", "overdue"),
        counts=("invoices",),
    ),
    Metric(
        name="usage_revenue",
        question="How much was invoiced for metered prices in each month, and for what quantity?",
        parts=f"""{_INVOICES},{WHOSE},
    metered as (
      select account, livemode, object_id as price_id from prices_history
      where usage_type = 'metered' and known_at <= {{known}} group by account, livemode, object_id),
    billed as (
      select invoices.finalized_at as moment, lines.currency, lines.price_id, lines.product_id, lines.quantity,
             lines.amount - coalesce(lines.discount, 0) as amount, whose.workspace_id
      from invoices_latest as invoices
      join invoice_lines_history as lines on invoices.account = lines.account and invoices.livemode = lines.livemode
        and invoices.object_id = lines.invoice_id and invoices.change_id = lines.change_id
      join metered on lines.account = metered.account and lines.livemode = metered.livemode
        and lines.price_id = metered.price_id
      {_OWNED.format("invoices")}
      where invoices.status in ('open', 'paid', 'uncollectible') and not invoices.deleted)""",
        select="""
select cast(date_trunc('month', moment) as date) as month, currency, price_id, product_id,
       cast(sum(quantity) as bigint) as quantity, cast(sum(amount) as bigint) as amount
from billed where moment >= {since} and moment < {until} and {workspace}
group by cast(date_trunc('month', moment) as date), currency, price_id, product_id
order by month, currency, price_id""",
        keys=("month", "price_id", "product_id"),
        money=("amount",),
        counts=("quantity",),
    ),
)

EXPLAIN_MRR = Metric(
    name="explain_mrr",
    question="Which events, trials and discounts add up to the monthly recurring revenue at the end of the period?",
    parts=f"{RECURRING},{EXPLAINED}",
    select="""
select moment, workspace_id, customer_id, subscription_id, item_id, price_id, quantity, unit_amount, interval, currency,
       because, origin, cause, cast(change as bigint) as change,
       cast(sum(change) over (partition by currency order by moment, subscription_id, item_id
                              rows between unbounded preceding and current row) as bigint) as mrr
from explained where change <> 0 and {workspace}
order by currency, moment, subscription_id, item_id""",
    keys=("moment", "subscription_id", "item_id"),
    money=("change", "mrr"),
    day="moment",
)
"""The last `mrr` of a currency is the figure."""

METRICS = {metric.name: metric for metric in _ALL}
"""By name."""

"""What was so at Stripe, from when until when, as known at a time: common table expressions over the books.

Three placeholders: `{known}` and `{until}`, timestamp literals, and `{account}`, a text: the account whose money it is.
Another account's is another's. Test money is no money: it counts as long as nothing is known of the account's live mode
(a local stack, a stack for tests), and not beside it. Within a second the events of an object
are a walk from state to state (docs/billing.md), so its state is the one that more changes lead to than from; a second
whose changes lead back to where they began changes nothing.
"""

from __future__ import annotations

from nilometer.lake.tables.order import BOOK_ORDER, newest_first

_KEY = "account, livemode, object_id"

_TELLING = ("subscriptions", "invoices", "customers", "charges")

MODE = """
    counted_mode as (
      select max(live) as live from (
        {each}) as known_modes)""".replace(
    "{each}",
    "\n        union all ".join(
        f"select max(case when livemode then 1 else 0 end) as live from {name}_history"
        " where account = {account} and known_at <= {known}"
        for name in _TELLING
    ),
)
"""counted_mode: 1 when anything of the account's live mode is known, which alone counts then; `COUNTED` reads it."""

COUNTED = "account = {account} and case when livemode then 1 else 0 end = (select coalesce(live, 0) from counted_mode)"
"""Whether a row is of the account that is asked for and of the mode that counts: a condition."""

SECONDS = f"""
    {{name}}_told as (
      select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{name}}_history
      where known_at <= {{known}} and {COUNTED}),
    {{name}}_changes as (
      select {_KEY}, valid_from, state, sum(arriving) as arriving, sum(leaving) as leaving
      from (
        select {_KEY}, valid_from, digest as state, 1 as arriving, 0 as leaving
        from {{name}}_told where previous_digest <> digest
        union all
        select {_KEY}, valid_from, previous_digest, 0, 1 from {{name}}_told where previous_digest <> digest) as steps
      group by {_KEY}, valid_from, state),
    {{name}}_weighed as (
      select told.*, case when changes.state is null and told.place > 0 then 2
                          when changes.arriving > changes.leaving then 2
                          when changes.state is null or told.place = 0 then 1 else 0 end as weight
      from {{name}}_told as told left join {{name}}_changes as changes
        on told.account = changes.account and told.livemode = changes.livemode
        and told.object_id = changes.object_id and told.valid_from = changes.valid_from
        and told.digest = changes.state),
    {{name}}_seconds as (
      select * from (
        select *, row_number() over (
          partition by {_KEY}, valid_from
          order by weight desc, place desc, resolved desc, {newest_first(BOOK_ORDER)}, digest desc) as choice
        from {{name}}_weighed where weight > 0) as chosen
      where choice = 1)"""
"""{name}_seconds: one row an object and second, the state that the second ended with."""

SUBSCRIPTIONS = f"""
    ended as (
      select {_KEY}, min(valid_from) as ended from subscriptions_seconds
      where deleted or status in ('canceled', 'incomplete_expired') group by {_KEY}),
    living as (
      select seconds.*,
             row_number() over (partition by seconds.account, seconds.livemode, seconds.object_id
                                order by seconds.valid_from) as number,
             lead(seconds.valid_from) over (partition by seconds.account, seconds.livemode, seconds.object_id
                                            order by seconds.valid_from) as ends
      from subscriptions_seconds as seconds left join ended
        on seconds.account = ended.account and seconds.livemode = ended.livemode
        and seconds.object_id = ended.object_id
      where ended.ended is null or seconds.valid_from <= ended.ended),
    states as (
      select {_KEY}, change_id, cause, origin, status, deleted, trial_end, ended_at, pause_behavior, pause_ends_at,
             ends, number, valid_from,
             case when number = 1 and created_at < valid_from then created_at else valid_from end as begins
      from living),
    owners as (
      select {_KEY}, max(customer_id) as customer_id, max(newest_workspace) as workspace_id
      from (select {_KEY}, customer_id, first_value(workspace_id) over (
              partition by {_KEY}
              order by case when workspace_id is null then 1 else 0 end, valid_from desc) as newest_workspace
            from living) as named
      group by {_KEY}),
    workspaces as (
      select {_KEY}, max(newest_workspace) as workspace_id
      from (select {_KEY}, first_value(workspace_id) over (
              partition by {_KEY}
              order by case when workspace_id is null then 1 else 0 end, valid_from desc) as newest_workspace
            from customers_history where known_at <= {{known}}) as named
      group by {_KEY})"""
"""states: of each subscription from `begins` to `ends`; what was first known began when Stripe made it."""

DISCOUNTS = f"""
    given as (
      select {_KEY}, max(customer_id) as customer_id, max(subscription_id) as subscription_id,
             max(subscription_item_id) as item_id, max(coupon_id) as coupon_id, min(starts_at) as starts_at,
             max(ends_at) as ends_at, min(case when deleted then valid_from end) as gone_at
      from discounts_history where known_at <= {{known}} group by {_KEY}),
    terms as (
      select {_KEY}, max(percent_off) as percent_off, max(amount_off) as amount_off, max(currency) as currency,
             max(duration) as duration
      from coupons_history where known_at <= {{known}} group by {_KEY}),
    discounts_given as (
      select given.*, terms.percent_off, terms.amount_off, terms.currency as coupon_currency
      from given join terms
        on given.account = terms.account and given.livemode = terms.livemode and given.coupon_id = terms.object_id
      where terms.duration <> 'once'),
    discounts_of as (
      select owners.account, owners.livemode, owners.object_id as subscription_id, owners.customer_id,
             given.object_id as discount_id, given.item_id, given.percent_off, given.amount_off,
             given.coupon_currency, given.starts_at, given.ends_at, given.gone_at,
             case when given.subscription_id is null then 0 else 1 end as own
      from owners join discounts_given as given
        on owners.account = given.account and owners.livemode = given.livemode
        and (owners.object_id = given.subscription_id
             or (given.subscription_id is null and owners.customer_id = given.customer_id)))"""
"""discounts_of: of each subscription, its own (`own` = 1), its items' and its customer's, but those taken off once."""

POINTS = """
    moments as (
      select account, livemode, object_id, begins as moment, 'change' as because from states
      union all select account, livemode, object_id, trial_end, 'trial' from states
      union all select account, livemode, object_id, ended_at, 'end' from states
      union all select account, livemode, object_id, pause_ends_at, 'pause' from states
      union all select account, livemode, subscription_id, starts_at, 'discount' from discounts_of
      union all select account, livemode, subscription_id, ends_at, 'discount' from discounts_of
      union all select account, livemode, subscription_id, gone_at, 'discount' from discounts_of),
    times as (
      select account, livemode, object_id, moment, min(because) as because from moments
      where moment < {until} group by account, livemode, object_id, moment),
    points as (
      select times.account, times.livemode, times.object_id as subscription_id, times.moment, times.because,
             states.change_id, states.cause, states.origin,
             case when states.deleted or states.status = 'incomplete_expired' then 0
                  when states.status = 'canceled' then
                    case when times.moment < coalesce(states.ended_at, states.valid_from) then 1 else 0 end
                  when states.status not in ('active', 'past_due') then 0
                  else 1 end
             * case when states.trial_end > times.moment then 0 else 1 end
             * case when states.pause_behavior in ('void', 'mark_uncollectible')
                      and (states.pause_ends_at is null or states.pause_ends_at > times.moment) then 0
                    else 1 end as counts
      from times join states
        on times.account = states.account and times.livemode = states.livemode
        and times.object_id = states.object_id
        and states.begins <= times.moment and (states.ends is null or times.moment < states.ends))"""
"""points: every moment at which the revenue of a subscription may change, with the state that it has from then on."""

LATEST = f"""
    {{name}}_latest as (
      select * from (
        select *, row_number() over (
          partition by {_KEY}
          order by case when deleted or {{final}} then 1 else 0 end desc, valid_from desc) as recency
        from {{name}}_seconds) as newest
      where recency = 1)"""
"""{name}_latest: each object as it is, as far as is known; `final` is a state that nothing follows."""

WHOSE = """
    whose as (
      select account, livemode, customer_id, max(newest_workspace) as workspace_id
      from (select account, livemode, customer_id, first_value(workspace_id) over (
              partition by account, livemode, customer_id
              order by case when workspace_id is null then 1 else 0 end, source, valid_from desc) as newest_workspace
            from (select account, livemode, object_id as customer_id, workspace_id, valid_from, 2 as source
                  from customers_history where known_at <= {known}
                  union all
                  select account, livemode, customer_id, workspace_id, valid_from, 1
                  from subscriptions_history where known_at <= {known} and customer_id is not null) as told) as named
      group by account, livemode, customer_id)"""
"""whose: the workspace of each customer, as its subscriptions or its own metadata name it."""

PAID_AT = """coalesce(paid_at, case when origin = 'api' then coalesce(finalized_at, created_at) else valid_from end)"""
"""When an invoice that is paid was; where it does not say so, when that was told, or as backfill found it."""


def latest(name: str, final: str = "false") -> str:
    """Both expressions of one book; `final` is a condition on its columns."""
    return f"{SECONDS},{LATEST}".replace("{name}", name).replace("{final}", final)

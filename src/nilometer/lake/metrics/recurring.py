"""Monthly recurring revenue of each item at each moment that may change it, in whole minor units.

A month's money of an item is price x quantity x payments a month, less its discounts, rounded half up once. A year is
12 months, a week 12/52 and a day 12/365 of one. Percents are taken off one after the other, at most four at a time;
amounts after them. An amount off a subscription is shared by its items in proportion, to the last unit.
"""

from __future__ import annotations

from nilometer.lake.metrics.states import DISCOUNTS, MODE, POINTS, SECONDS, SUBSCRIPTIONS


def half_up(numerator: str, denominator: str) -> str:
    """SQL of numerator / denominator, neither negative, rounded half up to a whole number, exactly in every engine.

    What is divided is a multiple of the divisor, so a division in floating point is whole after rounding too.
    """
    doubled = f"(2 * ({numerator}) + ({denominator}))"
    divisor = f"(2 * ({denominator}))"
    return f"cast(round(({doubled} - mod({doubled}, {divisor})) / {divisor}) as bigint)"


_POINT = "points.account = {0}.account and points.livemode = {0}.livemode"
_PERCENTS = 4
_FACTORS = "\n             * ".join(
    f"coalesce(max(case when nth = {n} then 10000 - cast(round(percent_off * 100) as bigint) end), 10000)"
    for n in range(1, _PERCENTS + 1)
)

_ITEMS = f"""
    sold as (
      select points.account, points.livemode, points.subscription_id, points.moment, items.object_id as item_id,
             items.position, items.price_id, items.product_id, items.currency, items.quantity, items.unit_amount,
             items.interval,
             points.counts * case when items.interval is null or items.usage_type = 'metered' then 0
                                  else coalesce(items.unit_amount, 0) * coalesce(items.quantity, 1) end as amount,
             case items.interval when 'week' then 52 when 'day' then 365 else 1 end as payments,
             coalesce(items.interval_count, 1) * case items.interval when 'month' then 1 else 12 end as months
      from points join subscription_items_history as items
        on {_POINT.format("items")} and points.subscription_id = items.subscription_id
        and points.change_id = items.change_id),
    active as (
      select points.account, points.livemode, points.subscription_id, points.moment, given.discount_id,
             given.item_id, given.own, given.percent_off, given.amount_off, given.coupon_currency,
             max(case when given.item_id is null then given.own else 0 end) over (
               partition by points.account, points.livemode, points.subscription_id, points.moment) as overridden
      from points join discounts_of as given
        on {_POINT.format("given")} and points.subscription_id = given.subscription_id
        and given.starts_at <= points.moment and (given.ends_at is null or points.moment < given.ends_at)
        and (given.gone_at is null or points.moment < given.gone_at)),
    applied as (
      select * from active where item_id is not null or own = 1 or overridden = 0),
    percents as (
      select account, livemode, subscription_id, moment, item_id,
             cast({_FACTORS} as decimal(38, 0)) as kept
      from (
        select sold.account, sold.livemode, sold.subscription_id, sold.moment, sold.item_id, applied.percent_off,
               row_number() over (partition by sold.account, sold.livemode, sold.subscription_id, sold.moment,
                                  sold.item_id order by applied.discount_id) as nth
        from sold join applied
          on sold.account = applied.account and sold.livemode = applied.livemode
          and sold.subscription_id = applied.subscription_id and sold.moment = applied.moment
          and (applied.item_id is null or applied.item_id = sold.item_id)
        where applied.percent_off is not null) as each_percent
      group by account, livemode, subscription_id, moment, item_id),
    reduced as (
      select sold.*, {
    half_up(
        "cast(sold.amount as decimal(38, 0)) * sold.payments * coalesce(percents.kept, 10000000000000000)",
        "cast(sold.months as decimal(38, 0)) * 10000000000000000",
    )
} as monthly
      from sold left join percents
        on sold.account = percents.account and sold.livemode = percents.livemode
        and sold.subscription_id = percents.subscription_id and sold.moment = percents.moment
        and sold.item_id = percents.item_id),
    amounts as (
      select account, livemode, subscription_id, moment, item_id, coupon_currency as currency,
             sum(amount_off) as amount_off
      from applied where amount_off is not null
      group by account, livemode, subscription_id, moment, item_id, coupon_currency),
    lowered as (
      select reduced.*, case when amounts.amount_off is null then reduced.monthly
               else greatest(0, reduced.monthly - {
    half_up("amounts.amount_off * reduced.payments", "reduced.months")
}) end as before_shared
      from reduced left join amounts
        on reduced.account = amounts.account and reduced.livemode = amounts.livemode
        and reduced.subscription_id = amounts.subscription_id and reduced.moment = amounts.moment
        and reduced.item_id = amounts.item_id and reduced.currency = amounts.currency),
    shared as (
      select lowered.*,
             coalesce(amounts.amount_off, 0) as amount_off,
             first_value(lowered.payments) over whole as first_payments,
             first_value(lowered.months) over whole as first_months,
             sum(lowered.before_shared) over whole as total,
             sum(lowered.before_shared) over upto as reached
      from lowered left join amounts
        on lowered.account = amounts.account and lowered.livemode = amounts.livemode
        and lowered.subscription_id = amounts.subscription_id and lowered.moment = amounts.moment
        and amounts.item_id is null and lowered.currency = amounts.currency
      window whole as (
               partition by lowered.account, lowered.livemode, lowered.subscription_id, lowered.moment
               order by lowered.position rows between unbounded preceding and unbounded following),
             upto as (
               partition by lowered.account, lowered.livemode, lowered.subscription_id, lowered.moment
               order by lowered.position rows between unbounded preceding and current row)),
    taken as (
      select shared.*, least(total, {half_up("amount_off * first_payments", "first_months")}) as off from shared),
    item_mrr as (
      select account, livemode, subscription_id, moment, item_id, price_id, product_id, currency, quantity,
             unit_amount, interval,
             case when off = 0 or total = 0 then before_shared
                  else before_shared - ({half_up("cast(off as decimal(38, 0)) * reached", "total")}
                       - {half_up("cast(off as decimal(38, 0)) * (reached - before_shared)", "total")})
                  end as mrr
      from taken)"""
"""item_mrr: of each item of the state at each moment. A subscription's money is of one currency."""

_MOVED = """
    subscription_mrr as (
      select points.account, points.livemode, points.subscription_id, points.moment,
             max(item_mrr.currency) as currency, coalesce(sum(item_mrr.mrr), 0) as mrr
      from points left join item_mrr
        on points.account = item_mrr.account and points.livemode = item_mrr.livemode
        and points.subscription_id = item_mrr.subscription_id and points.moment = item_mrr.moment
      group by points.account, points.livemode, points.subscription_id, points.moment),
    subscription_currency as (
      select account, livemode, subscription_id, max(currency) as currency from subscription_mrr
      group by account, livemode, subscription_id),
    steps as (
      select each.account, each.livemode, each.subscription_id, each.moment, known.currency,
             each.mrr - coalesce(lag(each.mrr) over (
               partition by each.account, each.livemode, each.subscription_id order by each.moment), 0) as change
      from subscription_mrr as each join subscription_currency as known
        on each.account = known.account and each.livemode = known.livemode
        and each.subscription_id = known.subscription_id),
    customer_steps as (
      select steps.account, steps.livemode, coalesce(owners.customer_id, steps.subscription_id) as customer_id,
             max(coalesce(owners.workspace_id, workspaces.workspace_id)) as workspace_id,
             steps.currency, steps.moment, sum(steps.change) as change
      from steps
      left join owners on steps.account = owners.account and steps.livemode = owners.livemode
        and steps.subscription_id = owners.object_id
      left join workspaces on owners.account = workspaces.account and owners.livemode = workspaces.livemode
        and owners.customer_id = workspaces.object_id
      where steps.change <> 0
      group by steps.account, steps.livemode, coalesce(owners.customer_id, steps.subscription_id), steps.currency,
               steps.moment
      having sum(steps.change) <> 0),
    standing as (
      select *, sum(change) over (partition by account, livemode, customer_id, currency order by moment
                                  rows between unbounded preceding and current row) as mrr,
             row_number() over (partition by account, livemode, customer_id, currency order by moment) as nth
      from customer_steps),
    movements as (
      select account, livemode, customer_id, workspace_id, currency, moment, change, mrr,
             case when nth = 1 then 'new' when mrr = change then 'reactivation' when mrr = 0 then 'churn'
                  when change > 0 then 'expansion' else 'contraction' end as movement
      from standing)"""
"""movements: every change of a customer's recurring revenue, named."""

EXPLAINED = """
    sold_items as (
      select account, livemode, subscription_id, item_id, max(currency) as currency
      from item_mrr group by account, livemode, subscription_id, item_id),
    placed as (
      select points.account, points.livemode, points.subscription_id, points.moment, points.because, points.cause,
             points.origin, sold_items.item_id, sold_items.currency, item_mrr.price_id, item_mrr.quantity,
             item_mrr.unit_amount, item_mrr.interval, coalesce(item_mrr.mrr, 0) as mrr
      from points
      join sold_items on points.account = sold_items.account and points.livemode = sold_items.livemode
        and points.subscription_id = sold_items.subscription_id
      left join item_mrr on points.account = item_mrr.account and points.livemode = item_mrr.livemode
        and points.subscription_id = item_mrr.subscription_id and points.moment = item_mrr.moment
        and sold_items.item_id = item_mrr.item_id),
    explained as (
      select placed.*, owners.customer_id, coalesce(owners.workspace_id, workspaces.workspace_id) as workspace_id,
             mrr - coalesce(lag(mrr) over (
               partition by placed.account, placed.livemode, placed.subscription_id, placed.item_id
               order by placed.moment), 0) as change
      from placed
      join owners on placed.account = owners.account and placed.livemode = owners.livemode
        and placed.subscription_id = owners.object_id
      left join workspaces on owners.account = workspaces.account and owners.livemode = workspaces.livemode
        and owners.customer_id = workspaces.object_id)"""
"""explained: of each item, at each moment that may change it, by how much it did and because of what."""

RECURRING = ",".join(
    (MODE, SECONDS.replace("{name}", "subscriptions"), SUBSCRIPTIONS, DISCOUNTS, POINTS, _ITEMS, _MOVED)
)
"""All of it, up to `movements`."""

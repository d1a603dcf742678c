-- The table expression active, which metrics have in common. Rules: docs/metrics.md. Generated.
select points.account, points.livemode, points.subscription_id, points.moment, given.discount_id,
             given.item_id, given.own, given.percent_off, given.amount_off, given.coupon_currency,
             max(case when given.item_id is null then given.own else 0 end) over (
               partition by points.account, points.livemode, points.subscription_id, points.moment) as overridden
      from {{ ref('points') }} as points join {{ ref('discounts_of') }} as given
        on points.account = given.account and points.livemode = given.livemode and points.subscription_id = given.subscription_id
        and given.starts_at <= points.moment and (given.ends_at is null or points.moment < given.ends_at)
        and (given.gone_at is null or points.moment < given.gone_at)

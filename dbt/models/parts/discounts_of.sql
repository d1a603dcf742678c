-- The table expression discounts_of, which metrics have in common. Rules: docs/metrics.md. Generated.
select owners.account, owners.livemode, owners.object_id as subscription_id, owners.customer_id,
             given.object_id as discount_id, given.item_id, given.percent_off, given.amount_off,
             given.coupon_currency, given.starts_at, given.ends_at, given.gone_at,
             case when given.subscription_id is null then 0 else 1 end as own
      from {{ ref('owners') }} as owners join {{ ref('discounts_given') }} as given
        on owners.account = given.account and owners.livemode = given.livemode
        and (owners.object_id = given.subscription_id
             or (given.subscription_id is null and owners.customer_id = given.customer_id))

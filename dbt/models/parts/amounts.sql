-- The table expression amounts, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, subscription_id, moment, item_id, coupon_currency as currency,
             sum(amount_off) as amount_off
      from {{ ref('applied') }} as applied where amount_off is not null
      group by account, livemode, subscription_id, moment, item_id, coupon_currency

-- The table expression given, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, object_id, max(customer_id) as customer_id, max(subscription_id) as subscription_id,
             max(subscription_item_id) as item_id, max(coupon_id) as coupon_id, min(starts_at) as starts_at,
             max(ends_at) as ends_at, min(case when deleted then valid_from end) as gone_at
      from {{ source('nilometer', 'discounts_history') }} where known_at <= {{ known() }} group by account, livemode, object_id

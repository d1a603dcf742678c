-- The table expression sold, which metrics have in common. Rules: docs/metrics.md. Generated.
select points.account, points.livemode, points.subscription_id, points.moment, items.object_id as item_id,
             items.position, items.price_id, items.product_id, items.currency, items.quantity, items.unit_amount,
             items.interval,
             points.counts * case when items.interval is null or items.usage_type = 'metered' then 0
                                  else coalesce(items.unit_amount, 0) * coalesce(items.quantity, 1) end as amount,
             case items.interval when 'week' then 52 when 'day' then 365 else 1 end as payments,
             coalesce(items.interval_count, 1) * case items.interval when 'month' then 1 else 12 end as months
      from {{ ref('points') }} as points join {{ source('nilometer', 'subscription_items_history') }} as items
        on points.account = items.account and points.livemode = items.livemode and points.subscription_id = items.subscription_id
        and points.change_id = items.change_id

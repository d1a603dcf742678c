-- The table expression terms, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, object_id, max(percent_off) as percent_off, max(amount_off) as amount_off, max(currency) as currency,
             max(duration) as duration
      from {{ source('nilometer', 'coupons_history') }} where known_at <= {{ known() }} group by account, livemode, object_id

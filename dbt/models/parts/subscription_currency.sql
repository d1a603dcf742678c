-- The table expression subscription_currency, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, subscription_id, max(currency) as currency from {{ ref('subscription_mrr') }} as subscription_mrr
      group by account, livemode, subscription_id

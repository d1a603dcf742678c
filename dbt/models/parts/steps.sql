-- The table expression steps, which metrics have in common. Rules: docs/metrics.md. Generated.
select each.account, each.livemode, each.subscription_id, each.moment, known.currency,
             each.mrr - coalesce(lag(each.mrr) over (
               partition by each.account, each.livemode, each.subscription_id order by each.moment), 0) as change
      from {{ ref('subscription_mrr') }} as each join {{ ref('subscription_currency') }} as known
        on each.account = known.account and each.livemode = known.livemode
        and each.subscription_id = known.subscription_id

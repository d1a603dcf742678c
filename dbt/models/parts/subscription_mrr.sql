-- The table expression subscription_mrr, which metrics have in common. Rules: docs/metrics.md. Generated.
select points.account, points.livemode, points.subscription_id, points.moment,
             max(item_mrr.currency) as currency, coalesce(sum(item_mrr.mrr), 0) as mrr
      from {{ ref('points') }} as points left join {{ ref('item_mrr') }} as item_mrr
        on points.account = item_mrr.account and points.livemode = item_mrr.livemode
        and points.subscription_id = item_mrr.subscription_id and points.moment = item_mrr.moment
      group by points.account, points.livemode, points.subscription_id, points.moment

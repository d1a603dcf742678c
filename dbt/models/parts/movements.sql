-- The table expression movements, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, customer_id, workspace_id, currency, moment, change, mrr,
             case when nth = 1 then 'new' when mrr = change then 'reactivation' when mrr = 0 then 'churn'
                  when change > 0 then 'expansion' else 'contraction' end as movement
      from {{ ref('standing') }} as standing

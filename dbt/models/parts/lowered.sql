-- The table expression lowered, which metrics have in common. Rules: docs/metrics.md. Generated.
select reduced.*, case when amounts.amount_off is null then reduced.monthly
               else greatest(0, reduced.monthly - cast(round(((2 * (amounts.amount_off * reduced.payments) + (reduced.months)) - mod((2 * (amounts.amount_off * reduced.payments) + (reduced.months)), (2 * (reduced.months)))) / (2 * (reduced.months))) as bigint)) end as before_shared
      from {{ ref('reduced') }} as reduced left join {{ ref('amounts') }} as amounts
        on reduced.account = amounts.account and reduced.livemode = amounts.livemode
        and reduced.subscription_id = amounts.subscription_id and reduced.moment = amounts.moment
        and reduced.item_id = amounts.item_id and reduced.currency = amounts.currency

-- The table expression reduced, which metrics have in common. Rules: docs/metrics.md. Generated.
select sold.*, cast(round(((2 * (cast(sold.amount as decimal(38, 0)) * sold.payments * coalesce(percents.kept, 10000000000000000)) + (cast(sold.months as decimal(38, 0)) * 10000000000000000)) - mod((2 * (cast(sold.amount as decimal(38, 0)) * sold.payments * coalesce(percents.kept, 10000000000000000)) + (cast(sold.months as decimal(38, 0)) * 10000000000000000)), (2 * (cast(sold.months as decimal(38, 0)) * 10000000000000000)))) / (2 * (cast(sold.months as decimal(38, 0)) * 10000000000000000))) as bigint) as monthly
      from {{ ref('sold') }} as sold left join {{ ref('percents') }} as percents
        on sold.account = percents.account and sold.livemode = percents.livemode
        and sold.subscription_id = percents.subscription_id and sold.moment = percents.moment
        and sold.item_id = percents.item_id

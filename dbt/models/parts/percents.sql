-- The table expression percents, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, subscription_id, moment, item_id,
             cast(coalesce(max(case when nth = 1 then 10000 - cast(round(percent_off * 100) as bigint) end), 10000)
             * coalesce(max(case when nth = 2 then 10000 - cast(round(percent_off * 100) as bigint) end), 10000)
             * coalesce(max(case when nth = 3 then 10000 - cast(round(percent_off * 100) as bigint) end), 10000)
             * coalesce(max(case when nth = 4 then 10000 - cast(round(percent_off * 100) as bigint) end), 10000) as decimal(38, 0)) as kept
      from (
        select sold.account, sold.livemode, sold.subscription_id, sold.moment, sold.item_id, applied.percent_off,
               row_number() over (partition by sold.account, sold.livemode, sold.subscription_id, sold.moment,
                                  sold.item_id order by applied.discount_id) as nth
        from {{ ref('sold') }} as sold join {{ ref('applied') }} as applied
          on sold.account = applied.account and sold.livemode = applied.livemode
          and sold.subscription_id = applied.subscription_id and sold.moment = applied.moment
          and (applied.item_id is null or applied.item_id = sold.item_id)
        where applied.percent_off is not null) as each_percent
      group by account, livemode, subscription_id, moment, item_id

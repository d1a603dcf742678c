-- The table expression item_mrr, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, subscription_id, moment, item_id, price_id, product_id, currency, quantity,
             unit_amount, interval,
             case when off = 0 or total = 0 then before_shared
                  else before_shared - (cast(round(((2 * (cast(off as decimal(38, 0)) * reached) + (total)) - mod((2 * (cast(off as decimal(38, 0)) * reached) + (total)), (2 * (total)))) / (2 * (total))) as bigint)
                       - cast(round(((2 * (cast(off as decimal(38, 0)) * (reached - before_shared)) + (total)) - mod((2 * (cast(off as decimal(38, 0)) * (reached - before_shared)) + (total)), (2 * (total)))) / (2 * (total))) as bigint))
                  end as mrr
      from {{ ref('taken') }} as taken

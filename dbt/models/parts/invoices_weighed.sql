-- The table expression invoices_weighed, which metrics have in common. Rules: docs/metrics.md. Generated.
select told.*, case when changes.state is null and told.place > 0 then 2
                          when changes.arriving > changes.leaving then 2
                          when changes.state is null or told.place = 0 then 1 else 0 end as weight
      from {{ ref('invoices_told') }} as told left join {{ ref('invoices_changes') }} as changes
        on told.account = changes.account and told.livemode = changes.livemode
        and told.object_id = changes.object_id and told.valid_from = changes.valid_from
        and told.digest = changes.state

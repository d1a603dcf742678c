-- The table expression invoices_latest, which metrics have in common. Rules: docs/metrics.md. Generated.
select * from (
        select *, row_number() over (
          partition by account, livemode, object_id
          order by case when deleted or status in ('paid', 'void') then 1 else 0 end desc, valid_from desc) as recency
        from {{ ref('invoices_seconds') }} as invoices_seconds) as newest
      where recency = 1

-- The table expression invoices_changes, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, object_id, valid_from, state, sum(arriving) as arriving, sum(leaving) as leaving
      from (
        select account, livemode, object_id, valid_from, digest as state, 1 as arriving, 0 as leaving
        from {{ ref('invoices_told') }} as invoices_told where previous_digest <> digest
        union all
        select account, livemode, object_id, valid_from, previous_digest, 0, 1 from {{ ref('invoices_told') }} as invoices_told where previous_digest <> digest) as steps
      group by account, livemode, object_id, valid_from, state

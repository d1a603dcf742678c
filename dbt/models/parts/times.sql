-- The table expression times, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, object_id, moment, min(because) as because from {{ ref('moments') }} as moments
      where moment < {{ until() }} group by account, livemode, object_id, moment

-- The table expression subscriptions_seconds, which metrics have in common. Rules: docs/metrics.md. Generated.
select * from (
        select *, row_number() over (
          partition by account, livemode, object_id, valid_from
          order by weight desc, place desc, resolved desc, known_at desc, sequence_number desc, digest desc) as choice
        from {{ ref('subscriptions_weighed') }} as subscriptions_weighed where weight > 0) as chosen
      where choice = 1

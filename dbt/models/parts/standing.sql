-- The table expression standing, which metrics have in common. Rules: docs/metrics.md. Generated.
select *, sum(change) over (partition by account, livemode, customer_id, currency order by moment
                                  rows between unbounded preceding and current row) as mrr,
             row_number() over (partition by account, livemode, customer_id, currency order by moment) as nth
      from {{ ref('customer_steps') }} as customer_steps

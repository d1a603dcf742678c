-- The table expression counted_mode, which metrics have in common. Rules: docs/metrics.md. Generated.
select max(live) as live from (
        select max(case when livemode then 1 else 0 end) as live from {{ source('nilometer', 'subscriptions_history') }} where account = {{ account() }} and known_at <= {{ known() }}
        union all select max(case when livemode then 1 else 0 end) as live from {{ source('nilometer', 'invoices_history') }} where account = {{ account() }} and known_at <= {{ known() }}
        union all select max(case when livemode then 1 else 0 end) as live from {{ source('nilometer', 'customers_history') }} where account = {{ account() }} and known_at <= {{ known() }}
        union all select max(case when livemode then 1 else 0 end) as live from {{ source('nilometer', 'charges_history') }} where account = {{ account() }} and known_at <= {{ known() }}) as known_modes

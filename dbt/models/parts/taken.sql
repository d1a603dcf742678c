-- The table expression taken, which metrics have in common. Rules: docs/metrics.md. Generated.
select shared.*, least(total, cast(round(((2 * (amount_off * first_payments) + (first_months)) - mod((2 * (amount_off * first_payments) + (first_months)), (2 * (first_months)))) / (2 * (first_months))) as bigint)) as off from {{ ref('shared') }} as shared

-- The table expression moments, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, object_id, begins as moment, 'change' as because from {{ ref('states') }} as states
      union all select account, livemode, object_id, trial_end, 'trial' from {{ ref('states') }} as states
      union all select account, livemode, object_id, ended_at, 'end' from {{ ref('states') }} as states
      union all select account, livemode, object_id, pause_ends_at, 'pause' from {{ ref('states') }} as states
      union all select account, livemode, subscription_id, starts_at, 'discount' from {{ ref('discounts_of') }} as discounts_of
      union all select account, livemode, subscription_id, ends_at, 'discount' from {{ ref('discounts_of') }} as discounts_of
      union all select account, livemode, subscription_id, gone_at, 'discount' from {{ ref('discounts_of') }} as discounts_of

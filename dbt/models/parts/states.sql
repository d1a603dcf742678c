-- The table expression states, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, object_id, change_id, cause, origin, status, deleted, trial_end, ended_at, pause_behavior, pause_ends_at,
             ends, number, valid_from,
             case when number = 1 and created_at < valid_from then created_at else valid_from end as begins
      from {{ ref('living') }} as living

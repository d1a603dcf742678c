-- The table expression points, which metrics have in common. Rules: docs/metrics.md. Generated.
select times.account, times.livemode, times.object_id as subscription_id, times.moment, times.because,
             states.change_id, states.cause, states.origin,
             case when states.deleted or states.status = 'incomplete_expired' then 0
                  when states.status = 'canceled' then
                    case when times.moment < coalesce(states.ended_at, states.valid_from) then 1 else 0 end
                  when states.status not in ('active', 'past_due') then 0
                  else 1 end
             * case when states.trial_end > times.moment then 0 else 1 end
             * case when states.pause_behavior in ('void', 'mark_uncollectible')
                      and (states.pause_ends_at is null or states.pause_ends_at > times.moment) then 0
                    else 1 end as counts
      from {{ ref('times') }} as times join {{ ref('states') }} as states
        on times.account = states.account and times.livemode = states.livemode
        and times.object_id = states.object_id
        and states.begins <= times.moment and (states.ends is null or times.moment < states.ends)

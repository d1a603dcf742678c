-- The table expression customer_steps, which metrics have in common. Rules: docs/metrics.md. Generated.
select steps.account, steps.livemode, coalesce(owners.customer_id, steps.subscription_id) as customer_id,
             max(coalesce(owners.workspace_id, workspaces.workspace_id)) as workspace_id,
             steps.currency, steps.moment, sum(steps.change) as change
      from {{ ref('steps') }} as steps
      left join {{ ref('owners') }} as owners on steps.account = owners.account and steps.livemode = owners.livemode
        and steps.subscription_id = owners.object_id
      left join {{ ref('workspaces') }} as workspaces on owners.account = workspaces.account and owners.livemode = workspaces.livemode
        and owners.customer_id = workspaces.object_id
      where steps.change <> 0
      group by steps.account, steps.livemode, coalesce(owners.customer_id, steps.subscription_id), steps.currency,
               steps.moment
      having sum(steps.change) <> 0

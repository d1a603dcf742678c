-- The table expression workspaces, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, object_id, max(newest_workspace) as workspace_id
      from (select account, livemode, object_id, first_value(workspace_id) over (
              partition by account, livemode, object_id
              order by case when workspace_id is null then 1 else 0 end, valid_from desc) as newest_workspace
            from {{ source('nilometer', 'customers_history') }} where known_at <= {{ known() }}) as named
      group by account, livemode, object_id

-- The table expression whose, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, customer_id, max(newest_workspace) as workspace_id
      from (select account, livemode, customer_id, first_value(workspace_id) over (
              partition by account, livemode, customer_id
              order by case when workspace_id is null then 1 else 0 end, source, valid_from desc) as newest_workspace
            from (select account, livemode, object_id as customer_id, workspace_id, valid_from, 2 as source
                  from {{ source('nilometer', 'customers_history') }} where known_at <= {{ known() }}
                  union all
                  select account, livemode, customer_id, workspace_id, valid_from, 1
                  from {{ source('nilometer', 'subscriptions_history') }} where known_at <= {{ known() }} and customer_id is not null) as told) as named
      group by account, livemode, customer_id

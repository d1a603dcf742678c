-- The table expression shared, which metrics have in common. Rules: docs/metrics.md. Generated.
select lowered.*,
             coalesce(amounts.amount_off, 0) as amount_off,
             first_value(lowered.payments) over whole as first_payments,
             first_value(lowered.months) over whole as first_months,
             sum(lowered.before_shared) over whole as total,
             sum(lowered.before_shared) over upto as reached
      from {{ ref('lowered') }} as lowered left join {{ ref('amounts') }} as amounts
        on lowered.account = amounts.account and lowered.livemode = amounts.livemode
        and lowered.subscription_id = amounts.subscription_id and lowered.moment = amounts.moment
        and amounts.item_id is null and lowered.currency = amounts.currency
      window whole as (
               partition by lowered.account, lowered.livemode, lowered.subscription_id, lowered.moment
               order by lowered.position rows between unbounded preceding and unbounded following),
             upto as (
               partition by lowered.account, lowered.livemode, lowered.subscription_id, lowered.moment
               order by lowered.position rows between unbounded preceding and current row)

-- What was owed at the end of each month, and what of it was overdue? Rules: docs/metrics.md. Generated.
with
    credit_notes_told as (select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{ source('nilometer', 'credit_notes_history') }}
      where known_at <= {{ known() }} and account = {{ account() }} and case when livemode then 1 else 0 end = (select coalesce(live, 0) from {{ ref('counted_mode') }} as counted_mode)),
    credit_notes_changes as (select account, livemode, object_id, valid_from, state, sum(arriving) as arriving, sum(leaving) as leaving
      from (
        select account, livemode, object_id, valid_from, digest as state, 1 as arriving, 0 as leaving
        from credit_notes_told where previous_digest <> digest
        union all
        select account, livemode, object_id, valid_from, previous_digest, 0, 1 from credit_notes_told where previous_digest <> digest) as steps
      group by account, livemode, object_id, valid_from, state),
    credit_notes_weighed as (select told.*, case when changes.state is null and told.place > 0 then 2
                          when changes.arriving > changes.leaving then 2
                          when changes.state is null or told.place = 0 then 1 else 0 end as weight
      from credit_notes_told as told left join credit_notes_changes as changes
        on told.account = changes.account and told.livemode = changes.livemode
        and told.object_id = changes.object_id and told.valid_from = changes.valid_from
        and told.digest = changes.state),
    credit_notes_seconds as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id, valid_from
          order by weight desc, place desc, resolved desc, known_at desc, sequence_number desc, digest desc) as choice
        from credit_notes_weighed where weight > 0) as chosen
      where choice = 1),
    credit_notes_latest as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id
          order by case when deleted or status = 'void' then 1 else 0 end desc, valid_from desc) as recency
        from credit_notes_seconds) as newest
      where recency = 1),
    invoice_payments_told as (select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{ source('nilometer', 'invoice_payments_history') }}
      where known_at <= {{ known() }} and account = {{ account() }} and case when livemode then 1 else 0 end = (select coalesce(live, 0) from {{ ref('counted_mode') }} as counted_mode)),
    invoice_payments_changes as (select account, livemode, object_id, valid_from, state, sum(arriving) as arriving, sum(leaving) as leaving
      from (
        select account, livemode, object_id, valid_from, digest as state, 1 as arriving, 0 as leaving
        from invoice_payments_told where previous_digest <> digest
        union all
        select account, livemode, object_id, valid_from, previous_digest, 0, 1 from invoice_payments_told where previous_digest <> digest) as steps
      group by account, livemode, object_id, valid_from, state),
    invoice_payments_weighed as (select told.*, case when changes.state is null and told.place > 0 then 2
                          when changes.arriving > changes.leaving then 2
                          when changes.state is null or told.place = 0 then 1 else 0 end as weight
      from invoice_payments_told as told left join invoice_payments_changes as changes
        on told.account = changes.account and told.livemode = changes.livemode
        and told.object_id = changes.object_id and told.valid_from = changes.valid_from
        and told.digest = changes.state),
    invoice_payments_seconds as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id, valid_from
          order by weight desc, place desc, resolved desc, known_at desc, sequence_number desc, digest desc) as choice
        from invoice_payments_weighed where weight > 0) as chosen
      where choice = 1),
    invoice_payments_latest as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id
          order by case when deleted or status = 'paid' then 1 else 0 end desc, valid_from desc) as recency
        from invoice_payments_seconds) as newest
      where recency = 1),
    notes as (select months.month, credit_notes.account, credit_notes.livemode, credit_notes.invoice_id,
             sum(case when type = 'mixed' then coalesce(pre_payment_amount, 0) else credit_notes.amount end) as amount
      from (values {{ months() }}) as months (month, begins, ends) join credit_notes_latest as credit_notes on credit_notes.created_at >= months.ends
      where type in ('pre_payment', 'mixed') and status <> 'void'
      group by months.month, credit_notes.account, credit_notes.livemode, credit_notes.invoice_id),
    payments as (select months.month, invoice_payments.account, invoice_payments.livemode, invoice_payments.invoice_id,
             sum(case when paid_at < months.ends then amount_paid else 0 end) as earlier,
             sum(case when paid_at < months.ends then 0 else amount_paid end) as later
      from (values {{ months() }}) as months (month, begins, ends) join invoice_payments_latest as invoice_payments on invoice_payments.status = 'paid'
      group by months.month, invoice_payments.account, invoice_payments.livemode, invoice_payments.invoice_id),
    owed as (select months.month, months.ends, invoices.currency, invoices.due_date, whose.workspace_id,
             case when invoices.status = 'open' then invoices.amount_remaining + coalesce(payments.later, 0)
                  else invoices.amount_due - coalesce(payments.earlier, 0) end
             + coalesce(notes.amount, 0) as amount
      from (values {{ months() }}) as months (month, begins, ends)
      join {{ ref('invoices_latest') }} as invoices
        on invoices.finalized_at < months.ends and not invoices.deleted
        and (invoices.status <> 'paid' or coalesce(paid_at, case when origin = 'api' then coalesce(finalized_at, created_at) else valid_from end) >= months.ends)
        and (invoices.voided_at is null or invoices.voided_at >= months.ends)
        and (invoices.marked_uncollectible_at is null or invoices.marked_uncollectible_at >= months.ends)
      left join notes on months.month = notes.month and invoices.account = notes.account
        and invoices.livemode = notes.livemode and invoices.object_id = notes.invoice_id
      left join payments on months.month = payments.month and invoices.account = payments.account
        and invoices.livemode = payments.livemode and invoices.object_id = payments.invoice_id
      left join {{ ref('whose') }} as whose on invoices.account = whose.account and invoices.livemode = whose.livemode and invoices.customer_id = whose.customer_id)
select month, currency, cast(sum(amount) as bigint) as owed,
       cast(sum(case when due_date < ends then amount else 0 end) as bigint) as overdue, count(*) as invoices
from owed where amount > 0 and true group by month, currency

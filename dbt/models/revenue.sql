-- How much was paid, refunded, disputed and kept by Stripe as fees in each month? Rules: docs/metrics.md. Generated.
with
    refunds_told as (select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{ source('nilometer', 'refunds_history') }}
      where known_at <= {{ known() }} and account = {{ account() }} and case when livemode then 1 else 0 end = (select coalesce(live, 0) from {{ ref('counted_mode') }} as counted_mode)),
    refunds_changes as (select account, livemode, object_id, valid_from, state, sum(arriving) as arriving, sum(leaving) as leaving
      from (
        select account, livemode, object_id, valid_from, digest as state, 1 as arriving, 0 as leaving
        from refunds_told where previous_digest <> digest
        union all
        select account, livemode, object_id, valid_from, previous_digest, 0, 1 from refunds_told where previous_digest <> digest) as steps
      group by account, livemode, object_id, valid_from, state),
    refunds_weighed as (select told.*, case when changes.state is null and told.place > 0 then 2
                          when changes.arriving > changes.leaving then 2
                          when changes.state is null or told.place = 0 then 1 else 0 end as weight
      from refunds_told as told left join refunds_changes as changes
        on told.account = changes.account and told.livemode = changes.livemode
        and told.object_id = changes.object_id and told.valid_from = changes.valid_from
        and told.digest = changes.state),
    refunds_seconds as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id, valid_from
          order by weight desc, place desc, resolved desc, known_at desc, sequence_number desc, digest desc) as choice
        from refunds_weighed where weight > 0) as chosen
      where choice = 1),
    refunds_latest as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id
          order by case when deleted or false then 1 else 0 end desc, valid_from desc) as recency
        from refunds_seconds) as newest
      where recency = 1),
    disputes_told as (select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{ source('nilometer', 'disputes_history') }}
      where known_at <= {{ known() }} and account = {{ account() }} and case when livemode then 1 else 0 end = (select coalesce(live, 0) from {{ ref('counted_mode') }} as counted_mode)),
    disputes_changes as (select account, livemode, object_id, valid_from, state, sum(arriving) as arriving, sum(leaving) as leaving
      from (
        select account, livemode, object_id, valid_from, digest as state, 1 as arriving, 0 as leaving
        from disputes_told where previous_digest <> digest
        union all
        select account, livemode, object_id, valid_from, previous_digest, 0, 1 from disputes_told where previous_digest <> digest) as steps
      group by account, livemode, object_id, valid_from, state),
    disputes_weighed as (select told.*, case when changes.state is null and told.place > 0 then 2
                          when changes.arriving > changes.leaving then 2
                          when changes.state is null or told.place = 0 then 1 else 0 end as weight
      from disputes_told as told left join disputes_changes as changes
        on told.account = changes.account and told.livemode = changes.livemode
        and told.object_id = changes.object_id and told.valid_from = changes.valid_from
        and told.digest = changes.state),
    disputes_seconds as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id, valid_from
          order by weight desc, place desc, resolved desc, known_at desc, sequence_number desc, digest desc) as choice
        from disputes_weighed where weight > 0) as chosen
      where choice = 1),
    disputes_latest as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id
          order by case when deleted or false then 1 else 0 end desc, valid_from desc) as recency
        from disputes_seconds) as newest
      where recency = 1),
    balance_transactions_told as (select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{ source('nilometer', 'balance_transactions_history') }}
      where known_at <= {{ known() }} and account = {{ account() }} and case when livemode then 1 else 0 end = (select coalesce(live, 0) from {{ ref('counted_mode') }} as counted_mode)),
    balance_transactions_changes as (select account, livemode, object_id, valid_from, state, sum(arriving) as arriving, sum(leaving) as leaving
      from (
        select account, livemode, object_id, valid_from, digest as state, 1 as arriving, 0 as leaving
        from balance_transactions_told where previous_digest <> digest
        union all
        select account, livemode, object_id, valid_from, previous_digest, 0, 1 from balance_transactions_told where previous_digest <> digest) as steps
      group by account, livemode, object_id, valid_from, state),
    balance_transactions_weighed as (select told.*, case when changes.state is null and told.place > 0 then 2
                          when changes.arriving > changes.leaving then 2
                          when changes.state is null or told.place = 0 then 1 else 0 end as weight
      from balance_transactions_told as told left join balance_transactions_changes as changes
        on told.account = changes.account and told.livemode = changes.livemode
        and told.object_id = changes.object_id and told.valid_from = changes.valid_from
        and told.digest = changes.state),
    balance_transactions_seconds as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id, valid_from
          order by weight desc, place desc, resolved desc, known_at desc, sequence_number desc, digest desc) as choice
        from balance_transactions_weighed where weight > 0) as chosen
      where choice = 1),
    balance_transactions_latest as (select * from (
        select *, row_number() over (
          partition by account, livemode, object_id
          order by case when deleted or false then 1 else 0 end desc, valid_from desc) as recency
        from balance_transactions_seconds) as newest
      where recency = 1),
    intents as (select account, livemode, payment_intent_id from {{ source('nilometer', 'invoice_payments_history') }}
      where payment_intent_id is not null and known_at <= {{ known() }} and account = {{ account() }} and case when livemode then 1 else 0 end = (select coalesce(live, 0) from {{ ref('counted_mode') }} as counted_mode)
      group by account, livemode, payment_intent_id),
    payers as (select charges.account, charges.livemode, charges.object_id as charge_id,
             max(charges.customer_id) as customer_id,
             max(case when charges.invoice_id is not null or charges.payment_intent_id is null
                      or intents.payment_intent_id is not null or payments.known = 0 then 1 else 0 end) as invoiced
      from {{ source('nilometer', 'charges_history') }} as charges cross join (select count(*) as known from intents) as payments
      left join intents
        on charges.account = intents.account and charges.livemode = intents.livemode
        and charges.payment_intent_id = intents.payment_intent_id
      where charges.known_at <= {{ known() }} group by charges.account, charges.livemode, charges.object_id),
    sources as (select account, livemode, charge_id as source_id, charge_id from payers
      union all select account, livemode, object_id, charge_id from refunds_latest
      union all select account, livemode, object_id, charge_id from disputes_latest),
    money as (select account, livemode, customer_id, currency, coalesce(paid_at, case when origin = 'api' then coalesce(finalized_at, created_at) else valid_from end) as moment, amount_paid as paid,
             0 as refunded, 0 as disputed, 0 as fees
      from {{ ref('invoices_latest') }} as invoices_latest where status = 'paid' and not deleted
      union all
      select refunds.account, refunds.livemode, payers.customer_id, currency, created_at, 0, amount, 0, 0
      from refunds_latest as refunds left join payers
        on refunds.account = payers.account and refunds.livemode = payers.livemode
        and refunds.charge_id = payers.charge_id
      where status not in ('failed', 'canceled') and coalesce(payers.invoiced, 1) = 1
      union all
      select disputes.account, disputes.livemode, payers.customer_id, currency, created_at, 0, 0, amount, 0
      from disputes_latest as disputes left join payers
        on disputes.account = payers.account and disputes.livemode = payers.livemode
        and disputes.charge_id = payers.charge_id
      where status not in ('won', 'prevented', 'warning_needs_response', 'warning_under_review', 'warning_closed')
        and coalesce(payers.invoiced, 1) = 1
      union all
      select entries.account, entries.livemode, payers.customer_id, currency, created_at, 0, 0, 0,
             case when type in ('stripe_fee', 'stripe_fx_fee', 'tax_fee', 'network_cost') then fee - amount else fee end
      from balance_transactions_latest as entries left join sources
        on entries.account = sources.account and entries.livemode = sources.livemode
        and entries.source_id = sources.source_id
      left join payers
        on sources.account = payers.account and sources.livemode = payers.livemode
        and sources.charge_id = payers.charge_id
      where case when type in ('stripe_fee', 'stripe_fx_fee', 'tax_fee', 'network_cost') then fee - amount else fee end <> 0 and coalesce(payers.invoiced, 1) = 1),
    owned as (select money.*, whose.workspace_id from money left join {{ ref('whose') }} as whose on money.account = whose.account and money.livemode = whose.livemode and money.customer_id = whose.customer_id)
select cast(date_trunc('month', moment) as date) as month, currency, cast(sum(paid) as bigint) as paid,
       cast(sum(refunded) as bigint) as refunded, cast(sum(disputed) as bigint) as disputed,
       cast(sum(fees) as bigint) as fees, cast(sum(paid - refunded - disputed - fees) as bigint) as net
from owned where moment >= {{ since() }} and moment < {{ until() }} and true
group by cast(date_trunc('month', moment) as date), currency

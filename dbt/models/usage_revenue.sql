-- How much was invoiced for metered prices in each month, and for what quantity? Rules: docs/metrics.md. Generated.
with
    metered as (select account, livemode, object_id as price_id from {{ source('nilometer', 'prices_history') }}
      where usage_type = 'metered' and known_at <= {{ known() }} group by account, livemode, object_id),
    billed as (select invoices.finalized_at as moment, lines.currency, lines.price_id, lines.product_id, lines.quantity,
             lines.amount - coalesce(lines.discount, 0) as amount, whose.workspace_id
      from {{ ref('invoices_latest') }} as invoices
      join {{ source('nilometer', 'invoice_lines_history') }} as lines on invoices.account = lines.account and invoices.livemode = lines.livemode
        and invoices.object_id = lines.invoice_id and invoices.change_id = lines.change_id
      join metered on lines.account = metered.account and lines.livemode = metered.livemode
        and lines.price_id = metered.price_id
      left join {{ ref('whose') }} as whose on invoices.account = whose.account and invoices.livemode = whose.livemode and invoices.customer_id = whose.customer_id
      where invoices.status in ('open', 'paid', 'uncollectible') and not invoices.deleted)
select cast(date_trunc('month', moment) as date) as month, currency, price_id, product_id,
       cast(sum(quantity) as bigint) as quantity, cast(sum(amount) as bigint) as amount
from billed where moment >= {{ since() }} and moment < {{ until() }} and true
group by cast(date_trunc('month', moment) as date), currency, price_id, product_id

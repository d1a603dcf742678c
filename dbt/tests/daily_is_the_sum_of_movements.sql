-- The recurring revenue at the end of the period is all that moved since it began and what was before.
with days as (
  select currency, day, mrr from {{ ref('mrr_daily') }}),
ends as (
  select currency, max(day) as last_day, min(day) as first_day from days group by currency),
stood as (
  select ends.currency, first.mrr as at_first, last.mrr as at_last, ends.first_day
  from ends
  join days as first on first.currency = ends.currency and first.day = ends.first_day
  join days as last on last.currency = ends.currency and last.day = ends.last_day),
moved as (
  select currency, sum(mrr) as mrr from {{ ref('mrr_movements') }} group by currency)
select stood.currency, stood.at_last, moved.mrr
from stood join moved on moved.currency = stood.currency
where stood.at_last <> moved.mrr and stood.at_first = 0

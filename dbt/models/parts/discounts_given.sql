-- The table expression discounts_given, which metrics have in common. Rules: docs/metrics.md. Generated.
select given.*, terms.percent_off, terms.amount_off, terms.currency as coupon_currency
      from {{ ref('given') }} as given join {{ ref('terms') }} as terms
        on given.account = terms.account and given.livemode = terms.livemode and given.coupon_id = terms.object_id
      where terms.duration <> 'once'

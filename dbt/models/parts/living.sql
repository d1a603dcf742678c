-- The table expression living, which metrics have in common. Rules: docs/metrics.md. Generated.
select seconds.*,
             row_number() over (partition by seconds.account, seconds.livemode, seconds.object_id
                                order by seconds.valid_from) as number,
             lead(seconds.valid_from) over (partition by seconds.account, seconds.livemode, seconds.object_id
                                            order by seconds.valid_from) as ends
      from {{ ref('subscriptions_seconds') }} as seconds left join {{ ref('ended') }} as ended
        on seconds.account = ended.account and seconds.livemode = ended.livemode
        and seconds.object_id = ended.object_id
      where ended.ended is null or seconds.valid_from <= ended.ended

"""What the folded inputs of every billing record say, for `payload.pack_record`: frozen, as `payload.DICTIONARY` is.

With it most records with several items and an open invoice stay within one kilobyte.
"""

from __future__ import annotations

RECORD = (
    b'{"deleted":true,"object":"customer","version":"radar.early_fraud_warning","fraud_type":"charge":"ch_","object":"d'
    b'ispute","reason":"fraudulent","status":"needs_response","amount_refunded":0,"entitlements":{"features":["","objec'
    b't":"entitlements.active_entitlement_summary","version":"sub_sched_":{"end_behavior":"release","object":"subscript'
    b'ion_schedule","phases":[{"end":1,"items":[{"price":"price_","quantity":1}],"start":1}],"subscription":"sub_","ver'
    b'sion":"pause":{"behavior":"keep_as_draft","resumes_at":"schedule":"sub_sched_","trial_end":1,"trial_start":1,"end'
    b'ed_at":1,"default_payment_method":"pm_","status":"canceled","trialing","unpaid","paused","incomplete_expired",{"c'
    b'atalog":{"self/live/price/price_":{"version":1},"self/test/price/price_":{"metadata":{"limit_":"/seat","seats":"}'
    b',"version":1},"self/test/product/prod_":{"metadata":{"limit_api_calls":"100000","plan":""},"name":"","version":1}'
    b'},"customers":{"self/test/cus_":{"cus_":{"default_payment_method":"pm_","delinquent":true,"object":"customer","ve'
    b'rsion":2},"in_":{"amount_remaining":0,"attempt_count":1,"created":17,"currency":"usd","due_date":1,"finalized_at"'
    b':17,"next_payment_attempt":17,"object":"invoice","subscription":"sub_","version":3},"pm_":{"exp_month":1,"exp_yea'
    b'r":203,"object":"payment_method","type":"card","version":1},"sub_":{"cancel_at":17,"cancel_at_period_end":true,"c'
    b'anceled_at":17,"created":17,"items":[{"current_period_end":17,"current_period_start":17,"id":"si_","metadata":{"l'
    b'imit_api_calls":"},"price":"price_","product":"prod_","quantity":1},{"current_period_end":17}],"latest_invoice":"'
    b'in_","object":"subscription","periods":[[17,17],[17]],"status":"past_due","version":2},"status":"active","version'
    b'":1}}}}'
)

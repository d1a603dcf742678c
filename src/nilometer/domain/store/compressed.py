"""JSON in few bytes: compressed with a dictionary of what every Stripe event, or every billing record, says.

A fact with its payload then fits into one kilobyte, which is one write unit less, or two in a transaction. Most records
with several items and an open invoice stay within one kilobyte, too. The dictionaries are part of the stored format:
they never change (`tests/domain/store/test_compressed.py` pins them); a better one would be one more. The format is
zlib's own (RFC 1950, FDICT), which names the dictionary; without one is read too.
"""

from __future__ import annotations

import zlib

DICTIONARY = (
    b'{"id":"evt_","object":"event","api_version":"2026-10-28.endive","created":0,"data":{"object":{"id":"prod_","ob'
    b'ject":"product","active":true,"created":0,"default_price":null,"description":null,"images":[],"livemode":false'
    b',"marketing_features":[],"metadata":{},"name":"P","package_dimensions":null,"shippable":null,"statement_descri'
    b'ptor":null,"tax_code":null,"type":"service","unit_label":null,"updated":0,"url":null}},"livemode":false,"pendi'
    b'ng_webhooks":0,"request":{"id":"req_","idempotency_key":null},"type":"product.created"}{"id":"evt_","object":"'
    b'event","api_version":"2026-10-28.endive","created":0,"data":{"object":{"id":"price_","object":"price","active"'
    b':true,"billing_scheme":"per_unit","created":0,"currency":"usd","custom_unit_amount":null,"livemode":false,"loo'
    b'kup_key":null,"metadata":{},"nickname":null,"product":"prod_","recurring":{"interval":"month","interval_count"'
    b':0,"meter":null,"trial_period_days":null,"usage_type":"licensed"},"tax_behavior":"unspecified","tiers_mode":nu'
    b'll,"transform_quantity":null,"type":"recurring","unit_amount":0,"unit_amount_decimal":"1900"}},"livemode":fals'
    b'e,"pending_webhooks":0,"request":{"id":"req_","idempotency_key":null},"type":"price.created"}{"id":"evt_","obj'
    b'ect":"event","api_version":"2026-10-28.endive","created":0,"data":{"object":{"id":"pm_","object":"payment_meth'
    b'od","allow_redisplay":"unspecified","billing_details":{"address":{"country":"US","postal_code":null},"email":n'
    b'ull,"name":null},"card":{"brand":"visa","checks":{"cvc_check":"pass"},"country":"US","exp_month":0,"exp_year":'
    b'0,"fingerprint":"m_fRNtLfhxBfAdek","funding":"credit","last4":"4242","wallet":null},"created":0,"customer":"cu'
    b's_","livemode":false,"metadata":{},"type":"card"}},"livemode":false,"pending_webhooks":0,"request":{"id":"req_'
    b'","idempotency_key":null},"type":"payment_method.attached"}{"id":"evt_","object":"event","api_version":"2026-1'
    b'0-28.endive","created":0,"data":{"object":{"id":"cus_","object":"customer","address":null,"balance":0,"created'
    b'":0,"currency":null,"default_source":null,"delinquent":true,"description":null,"discount":null,"email":"","inv'
    b'oice_prefix":"N5SVIORJ","invoice_settings":{"custom_fields":null,"default_payment_method":"pm_","footer":null,'
    b'"rendering_options":null},"livemode":false,"metadata":{"workspace_id":"w"},"name":"","next_invoice_sequence":0'
    b',"phone":null,"preferred_locales":[],"shipping":null,"tax_exempt":"none","test_clock":null},"previous_attribut'
    b'es":{"delinquent":false}},"livemode":false,"pending_webhooks":0,"request":{"id":"req_","idempotency_key":null}'
    b',"type":"customer.updated"}{"id":"evt_","object":"event","api_version":"2026-10-28.endive","created":0,"data":'
    b'{"object":{"id":"ch_","object":"charge","amount":0,"amount_captured":0,"amount_refunded":0,"billing_details":{'
    b'"address":null,"email":null,"name":null,"phone":null},"captured":true,"created":0,"currency":"usd","customer":'
    b'"cus_","disputed":false,"failure_code":null,"livemode":false,"metadata":{},"outcome":{"network_status":"approv'
    b'ed_by_network"},"paid":true,"refunded":false,"status":"succeeded"}},"livemode":false,"pending_webhooks":0,"req'
    b'uest":{"id":"req_","idempotency_key":null},"type":"charge.succeeded"}{"id":"evt_","object":"event","api_versio'
    b'n":"2026-10-28.endive","created":0,"data":{"object":{"id":"inpay_","object":"invoice_payment","amount_paid":0,'
    b'"amount_requested":0,"created":0,"currency":"usd","invoice":"in_","is_default":true,"livemode":false,"payment"'
    b':{"payment_intent":"pi_","type":"payment_intent"},"status":"paid","status_transitions":{"canceled_at":null,"pa'
    b'id_at":0}}},"livemode":false,"pending_webhooks":0,"request":{"id":"req_","idempotency_key":null},"type":"invoi'
    b'ce_payment.paid"}{"id":"evt_","object":"event","api_version":"2026-10-28.endive","created":0,"data":{"object":'
    b'{"id":"in_","object":"invoice","account_country":"US","account_name":"Nile Works","amount_due":0,"amount_overp'
    b'aid":0,"amount_paid":0,"amount_remaining":0,"amount_shipping":0,"application":null,"attempt_count":0,"attempte'
    b'd":true,"auto_advance":true,"automatic_tax":{"disabled_reason":null,"enabled":false,"liability":null,"status":'
    b'null},"billing_reason":"subscription_cycle","collection_method":"charge_automatically","created":0,"currency":'
    b'"usd","customer":"cus_","customer_address":null,"customer_email":"","customer_name":"","default_payment_method'
    b'":null,"description":null,"discounts":[],"due_date":null,"effective_at":0,"ending_balance":null,"footer":null,'
    b'"hosted_invoice_url":null,"invoice_pdf":null,"issuer":{"type":"self"},"last_finalization_error":null,"lines":{'
    b'"object":"list","data":[{"id":"il_","object":"line_item","amount":0,"currency":"usd","description":"1 \\u00d7 p'
    b'lan","discounts":[],"invoice":"in_","livemode":false,"metadata":{},"parent":{"subscription_item_details":{"inv'
    b'oice_item":null,"proration":false,"subscription":"sub_","subscription_item":"si_"},"type":"subscription_item_d'
    b'etails"},"period":{"end":0,"start":0},"pricing":{"price_details":{"price":"price_","product":"prod_"},"type":"'
    b'price_","unit_amount_decimal":"1900"},"quantity":0,"subtotal":0,"taxes":[]}],"has_more":false,"total_count":0,'
    b'"url":"/v1/invoices/in_tEeUImz7o4MxxvMjy4pivRdl/lines"},"livemode":false,"metadata":{},"next_payment_attempt":'
    b'0,"number":"N5SVIORJ-0002","on_behalf_of":null,"parent":{"quote_details":null,"subscription_details":{"metadat'
    b'a":{"workspace_id":"w"},"subscription":"sub_"},"type":"subscription_details"},"period_end":0,"period_start":0,'
    b'"status":"open","status_transitions":{"finalized_at":0,"marked_uncollectible_at":null,"paid_at":null,"voided_a'
    b't":null},"subtotal":0,"total":0,"total_discount_amounts":[],"webhooks_delivered_at":null},"previous_attributes'
    b'":{"attempt_count":0,"attempted":false,"next_payment_attempt":null}},"livemode":false,"pending_webhooks":0,"re'
    b'quest":{"id":"req_","idempotency_key":null},"type":"invoice.updated"}{"id":"evt_","object":"event","api_versio'
    b'n":"2026-10-28.endive","created":0,"data":{"object":{"id":"sub_","object":"subscription","application":null,"a'
    b'pplication_fee_percent":null,"automatic_tax":{"disabled_reason":null,"enabled":false,"liability":null},"billin'
    b'g_cycle_anchor":0,"billing_cycle_anchor_config":null,"billing_mode":{"type":"flexible"},"billing_thresholds":n'
    b'ull,"cancel_at":null,"cancel_at_period_end":false,"canceled_at":null,"cancellation_details":{"comment":null,"f'
    b'eedback":null,"reason":null},"collection_method":"charge_automatically","created":0,"currency":"usd","customer'
    b'":"cus_","days_until_due":null,"default_payment_method":null,"default_source":null,"default_tax_rates":[],"des'
    b'cription":null,"discounts":[],"ended_at":null,"invoice_settings":{"account_tax_ids":null,"issuer":{"type":"sel'
    b'f"}},"items":{"object":"list","data":[{"id":"si_","object":"subscription_item","billing_thresholds":null,"crea'
    b'ted":0,"current_period_end":0,"current_period_start":0,"discounts":[],"metadata":{},"plan":{"id":"price_","obj'
    b'ect":"plan","active":true,"amount":0,"amount_decimal":"1900","billing_scheme":"per_unit","created":0,"currency'
    b'":"usd","interval":"month","interval_count":0,"livemode":false,"metadata":{},"meter":null,"nickname":null,"pro'
    b'duct":"prod_","tiers_mode":null,"transform_usage":null,"trial_period_days":null,"usage_type":"licensed"},"pric'
    b'e":{"id":"price_","object":"price","active":true,"billing_scheme":"per_unit","created":0,"currency":"usd","cus'
    b'tom_unit_amount":null,"livemode":false,"lookup_key":null,"metadata":{},"nickname":null,"product":"prod_","recu'
    b'rring":{"interval":"month","interval_count":0,"meter":null,"trial_period_days":null,"usage_type":"licensed"},"'
    b'tax_behavior":"unspecified","tiers_mode":null,"transform_quantity":null,"type":"recurring","unit_amount":0,"un'
    b'it_amount_decimal":"1900"},"quantity":0,"subscription":"sub_","tax_rates":[]}],"has_more":false,"total_count":'
    b'0,"url":"/v1/subscription_items?subscription=sub_A4ES0KUKjZXdaPAa22LEk9Rh"},"latest_invoice":"in_","livemode":'
    b'false,"metadata":{"workspace_id":"w"},"next_pending_invoice_item_invoice":null,"on_behalf_of":null,"pause_coll'
    b'ection":null,"payment_settings":{"payment_method_options":null,"payment_method_types":null,"save_default_payme'
    b'nt_method":"off"},"pending_invoice_item_interval":null,"pending_setup_intent":null,"pending_update":null,"plan'
    b'":{"id":"price_","object":"plan","active":true,"amount":0,"amount_decimal":"1900","billing_scheme":"per_unit",'
    b'"created":0,"currency":"usd","interval":"month","interval_count":0,"livemode":false,"metadata":{},"meter":null'
    b',"nickname":null,"product":"prod_","tiers_mode":null,"transform_usage":null,"trial_period_days":null,"usage_ty'
    b'pe":"licensed"},"quantity":0,"schedule":null,"start_date":0,"status":"past_due","test_clock":null,"transfer_da'
    b'ta":null,"trial_end":null,"trial_settings":{"end_behavior":{"missing_payment_method":"create_invoice"}},"trial'
    b'_start":null},"previous_attributes":{"status":"active"}},"livemode":false,"pending_webhooks":0,"request":{"id"'
    b':"req_","idempotency_key":null},"type":"customer.subscription.updated"}'
)
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

# A small window and state, made once and copied: a third of the time, and payloads rarely are larger than it.
_PREPARED = zlib.compressobj(6, zlib.DEFLATED, 14, 6, zdict=DICTIONARY)
_PREPARED_RECORD = zlib.compressobj(5, zlib.DEFLATED, 14, 6, zdict=RECORD)  # 6: 0.2 % fewer bytes, a third more time
_BY_ID = {zlib.adler32(known): known for known in (DICTIONARY, RECORD)}


def pack(text: bytes) -> bytes:
    """`text` is JSON of an event or a register, best without white space."""
    return _packed(_PREPARED, text)


def pack_record(text: bytes) -> bytes:
    """`text` is JSON of what a billing record is folded from."""
    return _packed(_PREPARED_RECORD, text)


def _packed(prepared: zlib._Compress, text: bytes) -> bytes:
    compressor = prepared.copy()
    return compressor.compress(text) + compressor.flush()


def unpack(content: bytes, *, most: int = 0) -> bytes:
    """`zlib.error` for what neither made; of a stranger's content the first `most` bytes. Source: RFC 1950, 2.2:
    FLG.FDICT, and DICTID after it."""
    dictionary = _BY_ID.get(int.from_bytes(content[2:6]), DICTIONARY)
    decompressor = zlib.decompressobj(zdict=dictionary)
    text = decompressor.decompress(content, most)
    return text if most else text + decompressor.flush()

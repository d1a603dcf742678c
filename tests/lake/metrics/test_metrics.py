"""The rules of docs/metrics.md, an example each."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.flows.billing_play import OBJECTS, play
from tests.support.lake.books import Books
from tests.support.stores.memory import MemoryStore

from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import Rejected
from nilometer.lake.metrics.metrics import EXPLAIN_MRR, METRICS, Metric
from nilometer.lake.metrics.period import MetricPeriod
from nilometer.lake.metrics.rates import in_one_currency, read_rates
from nilometer.lake.read.query import query

PERIOD = MetricPeriod(first=date(2026, 5, 1), last=date(2026, 8, 31), known_at=datetime(2028, 1, 1, tzinfo=UTC))
MAY = int(datetime(2026, 5, 3, tzinfo=UTC).timestamp())
DAY = 86_400
_ids = itertools.count()


class Told:
    """Events of objects, in any number, into tables; then figures."""

    def __init__(self, folder: Path) -> None:
        self.books = Books(MemoryStore(), OBJECTS, folder)

    def tell(
        self, event_type: str, second: int, previous: Any = None, *, live: bool = False, account: str | None = None,
        **state: Any,
    ) -> None:  # fmt: skip
        data = {"object": state} | ({"previous_attributes": previous} if previous else {})
        event = {
            "id": f"evt_{next(_ids)}", "object": "event", "type": event_type, "created": second, "livemode": live,
            "api_version": "2026-10-28.endive", "data": data, **({"account": account} if account else {}),
        }  # fmt: skip
        play(self.books.store, [event])
        self.books.collect()

    def subscribe(self, *items: dict[str, Any], second: int = MAY, event: str = "created", **state: Any) -> None:
        """`sub_1` of `cus_1`, active; `state` may say `live` too."""
        known = {"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active", "created": MAY}
        known |= {"metadata": {"workspace_id": "acme"}, "items": {"data": list(items)}}
        self.tell(f"customer.subscription.{event}", second, **{**known, **state})

    def discount(self, id_: str, owner: dict[str, Any], end: int | None = None, **coupon: Any) -> None:
        """Of `cus_1` and what `owner` names, from the begin on."""
        terms = {"id": f"co_{id_}", "object": "coupon", "duration": "forever", "created": MAY, **coupon}
        self.tell("coupon.created", MAY, **terms)
        made = {"id": id_, "object": "discount", "customer": "cus_1", "start": MAY, "end": end, **owner}
        self.tell("customer.discount.created", MAY, source={"type": "coupon", "coupon": f"co_{id_}"}, **made)

    def bill(self, account: str | None = None, amount: int = 10_000, *, live: bool = False) -> None:
        """A subscription, an invoice of a metered price that was paid in July, its charge, a refund, a fee."""
        self.subscribe(item(amount), account=account, live=live)
        price = {"id": "price_calls", "object": "price", "currency": "usd", "unit_amount": 1, "product": "prod_1"}
        metered = {**price, "recurring": {"interval": "month", "interval_count": 1, "usage_type": "metered"}}
        told: Any = partial(self.tell, account=account, live=live)
        told("price.created", MAY, **metered, created=MAY)
        times = {"finalized_at": MAY + 17 * DAY, "paid_at": MAY + 62 * DAY}
        line = {"id": "il_1", "object": "line_item", "amount": amount, "currency": "usd", "quantity": amount}
        line["pricing"] = {"type": "price_details", "price_details": {"price": "price_calls", "product": "prod_1"}}
        bill = {"id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "usd", "status": "paid"}
        bill |= {"amount_due": amount, "amount_paid": amount, "amount_remaining": 0, "status_transitions": times}
        told("invoice.paid", MAY + 62 * DAY, **bill, lines={"data": [line]})
        charge = {"id": "ch_1", "object": "charge", "customer": "cus_1", "invoice": "in_1", "status": "succeeded"}
        told("charge.succeeded", MAY + 62 * DAY, **charge, amount=amount, currency="usd", created=MAY + 62 * DAY)
        refund = {"id": "re_1", "object": "refund", "charge": "ch_1", "status": "succeeded", "currency": "usd"}
        told("refund.created", MAY + 63 * DAY, **refund, amount=amount // 10, created=MAY + 63 * DAY)

    def ask(
        self, metric: str | Metric, workspace: str | None = None, account: str = OWN_ACCOUNT
    ) -> list[dict[str, Any]]:
        self.books.flush()
        known = METRICS[metric] if isinstance(metric, str) else metric
        answer = query(known.sql(PERIOD, workspace, account), lake_uri=self.books.lake.uri, storage_options={})
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def mrr(self, day: date = date(2026, 5, 3)) -> int:
        return sum(row["mrr"] for row in self.ask("mrr_daily") if row["day"] == day)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def item(amount: int, interval: str = "month", count: int = 1, quantity: int = 1, **other: Any) -> dict[str, Any]:
    recurring = {"interval": interval, "interval_count": count, "usage_type": other.pop("usage_type", "licensed")}
    price = {"id": f"price_{interval}", "unit_amount": amount, "currency": "usd", "recurring": recurring}
    return {"id": "si_1", "quantity": quantity, "price": price, **other}


@pytest.mark.parametrize(
    ("sold", "expected"),
    [
        (item(9_999, "month", 3), 3_333),
        (item(49_999, "year"), 4_167),
        (item(1_101, "week"), 4_771),
        (item(49_999, "year", quantity=7), 29_166),
        (item(3, usage_type="metered"), 0),
    ],
)
def test_a_price_is_so_much_a_month(told: Told, sold: dict[str, Any], expected: int) -> None:
    """Rounded once, half up, after the quantity."""
    told.subscribe(sold)
    assert told.mrr() == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"status": "past_due"}, 4_900),
        ({"status": "unpaid"}, 0),
        ({"status": "paused"}, 0),
        ({"status": "trialing", "trial_end": MAY + 14 * DAY}, 0),
        ({"pause_collection": {"behavior": "void"}}, 0),
        ({"pause_collection": {"behavior": "keep_as_draft"}}, 4_900),
    ],
)
def test_a_state_counts_or_not(told: Told, state: dict[str, Any], expected: int) -> None:
    """What is not paid for is no recurring revenue."""
    told.subscribe(item(4_900), **state)
    assert told.mrr() == expected


def test_percentages_follow_one_another(told: Told) -> None:
    """12.5 % and 10 %."""
    told.subscribe(item(4_900))
    told.discount("di_1", {"subscription": "sub_1"}, percent_off=12.5)
    told.discount("di_2", {"subscription": "sub_1"}, percent_off=10)
    assert told.mrr() == 3_859


def test_an_amount_is_shared_to_the_last_unit(told: Told) -> None:
    """The parts of two items add up to what is left of the whole."""
    told.subscribe(item(4_900), item(1_101) | {"id": "si_2"})
    told.discount("di_1", {"subscription": "sub_1"}, amount_off=1_001, currency="usd")
    assert told.mrr() == 5_000
    assert [row["change"] for row in told.ask(EXPLAIN_MRR)] == [4_083, 917]


def test_a_coupon_used_once_changes_nothing(told: Told) -> None:
    """It is no recurring discount."""
    told.subscribe(item(4_900))
    told.discount("di_1", {"subscription": "sub_1"}, percent_off=50, duration="once")
    assert told.mrr() == 4_900


def test_a_repeating_coupon_ends(told: Told) -> None:
    """With its discount, and no event tells of it."""
    told.subscribe(item(4_900))
    told.discount("di_1", {"subscription": "sub_1"}, MAY + 90 * DAY, percent_off=33.33, duration="repeating")
    assert [told.mrr(date(2026, 5, 3) + timedelta(days=n)) for n in (0, 89, 90)] == [3_267, 3_267, 4_900]


def test_a_subscription_has_its_own_discounts_or_its_customers(told: Told) -> None:
    """The customer's 50 % is for those without."""
    told.subscribe(item(4_900))
    told.discount("di_1", {}, percent_off=50)
    assert told.mrr() == 2_450
    told.discount("di_2", {"subscription": "sub_1"}, percent_off=10)
    assert told.mrr() == 4_410


def test_movements_have_names(told: Told) -> None:
    """What was before plus all movements is what is after."""
    told.subscribe(item(4_900))
    told.subscribe(item(4_900, quantity=3), event="updated", second=MAY + 17 * DAY)
    ended = MAY + 38 * DAY
    told.subscribe(item(4_900, quantity=3), event="deleted", second=ended, status="canceled", ended_at=ended)

    rows = [(row["month"].month, row["movement"], row["mrr"]) for row in told.ask("mrr_movements")]
    assert rows == [(5, "expansion", 9_800), (5, "new", 4_900), (6, "churn", -14_700)]
    [june] = [row for row in told.ask("churn") if row["month"].month == 6]
    assert (june["customers"], june["churned_customers"], june["mrr"], june["churned_mrr"]) == (1, 1, 14_700, 14_700)


def test_a_second_that_leads_back_changes_nothing(told: Told) -> None:
    """Two seats to three and back within a second, in any order of arrival."""
    told.subscribe(item(4_900, quantity=2))
    old, new = {"items": {"data": [item(4_900, quantity=2)]}}, {"items": {"data": [item(4_900, quantity=3)]}}
    told.subscribe(item(4_900, quantity=2), event="updated", second=MAY + DAY, previous=new)
    told.subscribe(item(4_900, quantity=3), event="updated", second=MAY + DAY, previous=old)
    assert [row["mrr"] for row in told.ask("mrr_movements")] == [9_800]


def test_explain_names_the_events(told: Told) -> None:
    """Their changes add up to the figure; another workspace has nothing to do with it."""
    told.subscribe(item(4_900), trial_end=MAY + DAY)
    rows = told.ask(EXPLAIN_MRR, "acme")
    assert [(row["because"], row["change"], row["mrr"]) for row in rows] == [("trial", 4_900, 4_900)]
    assert rows[0]["cause"].startswith("evt_")
    assert told.ask(EXPLAIN_MRR, "globex") == []


def test_what_is_owed_less_a_later_credit_note(told: Told) -> None:
    """As of the end of each month, also when the invoice was first seen paid."""
    finalized, noted, paid = MAY + 17 * DAY, MAY + 38 * DAY, MAY + 62 * DAY
    bill = {"id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "usd", "due_date": MAY + 31 * DAY}
    told.tell(
        "invoice.paid", paid, **bill, status="paid", amount_due=9_000, amount_paid=9_000, amount_remaining=0,
        status_transitions={"finalized_at": finalized, "paid_at": paid},
    )  # fmt: skip
    note = {"id": "cn_1", "object": "credit_note", "type": "pre_payment", "status": "issued", "invoice": "in_1"}
    told.tell("credit_note.created", noted, **note, amount=1_000, currency="usd", created=noted)

    rows = [(row["month"].month, row["owed"], row["overdue"]) for row in told.ask("receivables")]
    assert rows == [(5, 10_000, 0), (6, 9_000, 9_000)]


def test_a_note_that_is_partly_of_what_was_owed(told: Told) -> None:
    """Of 10,000 are 4,000 paid in June; in July a note of 8,000 ends what is owed with 6,000, and gives 2,000 back."""
    finalized, first, noted = MAY + 17 * DAY, MAY + 38 * DAY, MAY + 62 * DAY
    bill = {"id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "usd", "status": "paid"}
    times = {"finalized_at": finalized, "paid_at": noted}
    sums = {"amount_due": 4_000, "amount_paid": 4_000, "amount_remaining": 0}
    told.tell("invoice.paid", noted, **bill, **sums, status_transitions=times)
    part = {"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "currency": "usd", "status": "paid"}
    told.tell("invoice_payment.paid", first, **part, amount_paid=4_000, status_transitions={"paid_at": first})
    note = {"id": "cn_1", "object": "credit_note", "status": "issued", "invoice": "in_1", "currency": "usd"}
    note |= {"type": "mixed", "amount": 8_000, "pre_payment_amount": 6_000, "post_payment_amount": 2_000}
    told.tell("credit_note.created", noted, **note, created=noted)

    assert [(row["month"].month, row["owed"]) for row in told.ask("receivables")] == [(5, 10_000), (6, 6_000)]


def test_a_payment_in_parts_leaves_the_months_before_it(told: Told) -> None:
    """What was owed at the end of May does not depend on what was paid later, before and after the rest came."""
    finalized, first, rest = MAY + 17 * DAY, MAY + 38 * DAY, MAY + 62 * DAY
    bill = {"id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "usd", "amount_due": 10_000}
    times = {"finalized_at": finalized}
    paid = {"object": "invoice_payment", "invoice": "in_1", "currency": "usd", "status": "paid"}

    def owed() -> list[int]:
        return [row["owed"] for row in told.ask("receivables")]

    told.tell("invoice.updated", first, **bill, status="open", amount_remaining=6_000, status_transitions=times)
    part = {"id": "inpay_1", "amount_paid": 4_000, "status_transitions": {"paid_at": first}}
    told.tell("invoice_payment.paid", first, **paid, **part)
    assert owed() == [10_000, 6_000, 6_000, 6_000]
    told.tell(
        "invoice.paid", rest, **bill, status="paid", amount_remaining=0, status_transitions=times | {"paid_at": rest}
    )
    last = {"id": "inpay_2", "amount_paid": 6_000, "status_transitions": {"paid_at": rest}}
    told.tell("invoice_payment.paid", rest, **paid, **last)
    assert owed() == [10_000, 6_000]


def test_test_money_counts_until_something_is_live(told: Told) -> None:
    """In one lake with live objects it is in no figure; a stack for tests has nothing else. As known before, it was."""
    told.subscribe(item(4_900))
    assert told.mrr() == 4_900
    told.subscribe(item(1_000), live=True, id="sub_2", customer="cus_2")
    assert told.mrr() == 1_000
    assert [row["mrr"] for row in told.ask(EXPLAIN_MRR)] == [1_000]
    told.tell("charge.succeeded", MAY, live=True, id="ch_1", object="charge", customer="cus_2", created=MAY)
    refund = {"id": "re_1", "object": "refund", "status": "succeeded", "amount": 500, "currency": "usd", "created": MAY}
    told.tell("refund.created", MAY, **refund, charge="ch_9")
    assert told.ask("revenue") == []


def test_one_currency_by_a_table_of_rates(told: Told) -> None:
    """Each row by the rate of its day, rounded half up; a currency without one is an error."""
    told.subscribe(item(4_901))
    rows = told.ask("mrr_daily")
    rates = read_rates(["currency,day,rate", "usd,2026-05-01,0.5", "usd,2026-06-01,0.9"], "EUR")

    found = {row["day"]: row["mrr"] for row in in_one_currency(METRICS["mrr_daily"], rows, rates)}
    assert (found[date(2026, 5, 31)], found[date(2026, 6, 1)]) == (2_451, 4_411)
    with pytest.raises(Rejected, match="there is no rate of usd for 2026-05-03"):
        in_one_currency(METRICS["mrr_daily"], rows, read_rates(["currency,day,rate", "usd,2026-06-01,0.9"], "eur"))
    with pytest.raises(Rejected, match="CSV with the header"):
        read_rates(["currency,day,rate", "usd,today,1"], "eur")


def test_a_quote_in_a_workspace_is_text(told: Told) -> None:
    """What a person gives never becomes SQL."""
    told.subscribe(item(4_900), metadata={"workspace_id": "o'neil {known}"})
    assert [row["mrr"] for row in told.ask("mrr_movements", "o'neil {known}")] == [4_900]
    assert told.ask("mrr_movements", "' or true --") == []


def of_money(told: Told, number: int, **charge: Any) -> None:
    """A charge of 10,000 of `cus_1` with its fee, a refund, a dispute and the dispute's fee."""
    of = {"currency": "usd", "created": MAY}
    charged = {"id": f"ch_{number}", "object": "charge", "customer": "cus_1", "status": "succeeded", "amount": 10_000}
    told.tell("charge.succeeded", MAY, **charged, **of, **charge)
    back = {"charge": f"ch_{number}", **of}
    told.tell("refund.created", MAY, id=f"re_{number}", object="refund", status="succeeded", amount=2_500, **back)
    told.tell("charge.dispute.created", MAY, id=f"dp_{number}", object="dispute", status="lost", amount=700, **back)
    for source, fee in ((f"ch_{number}", 320), (f"dp_{number}", 1_500)):
        entry = {"id": f"txn_{source}", "object": "balance_transaction", "status": "available", "type": "charge"}
        told.tell("balance.x", MAY, **entry, source=source, amount=1, fee=fee, net=1, **of)


@pytest.mark.parametrize(
    ("charge", "paid_by", "counts"),
    [
        ({"payment_intent": "pi_1"}, "pi_1", True),
        ({"payment_intent": "pi_1"}, "pi_2", False),
        ({"payment_intent": "pi_1", "invoice": "in_1"}, "pi_2", True),
        ({"payment_intent": "pi_1"}, None, True),
        ({}, "pi_2", True),
    ],
)
def test_of_a_payment_without_an_invoice_nothing_counts(
    told: Told, charge: dict[str, Any], paid_by: str | None, counts: bool
) -> None:
    """As it is not in `paid`, what was given back of it and its fees are in no other column. What does not say whether
    it has an invoice counts, as where no payment of an invoice is known."""
    if paid_by:
        payment = {"id": "inpay_1", "object": "invoice_payment", "status": "paid", "invoice": "in_1", "created": MAY}
        told.tell("invoice_payment.paid", MAY, **payment, payment={"type": "payment_intent", "payment_intent": paid_by})
    of_money(told, 1, **charge)

    rows = told.ask("revenue")

    sums = [(row["refunded"], row["disputed"], row["fees"], row["net"]) for row in rows]
    assert sums == ([(2_500, 700, 1_820, -5_020)] if counts else [])


def test_fees_of_disputes_and_refunds_are_of_the_workspace_that_paid(told: Told) -> None:
    """Their entries in the balance name the dispute, which names the charge, which names the customer."""
    told.tell("customer.created", MAY, id="cus_1", object="customer", created=MAY, metadata={"workspace_id": "acme"})
    of_money(told, 1)

    assert [row["fees"] for row in told.ask("revenue", "acme")] == [1_820]


@pytest.mark.parametrize("kind", ["stripe_fee", "stripe_fx_fee", "tax_fee", "network_cost"])
def test_a_fee_for_a_service_is_a_fee(told: Told, kind: str) -> None:
    """Stripe takes fees of its services (Billing, Radar), and tax on fees, as entries of their own, whose amount is
    the fee. A payout, or what else moves money, is none."""
    entry = {"object": "balance_transaction", "status": "available", "currency": "usd", "created": MAY}
    told.tell("balance.x", MAY, **entry, id="txn_1", type=kind, source=None, amount=-700, fee=0, net=-700)
    told.tell("balance.x", MAY, **entry, id="txn_2", type="payout", source="po_1", amount=-9_000, fee=0, net=-9_000)
    told.tell("balance.x", MAY, **entry, id="txn_3", type=kind, source=None, amount=50, fee=0, net=50)

    assert [(row["fees"], row["net"]) for row in told.ask("revenue")] == [(650, -650)]


def test_an_invoice_that_says_no_time_of_its_payment_is_paid(told: Told) -> None:
    """Some exports of old invoices do not: it counts when it was told, and is owed no more from then on."""
    bill = {"id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "usd", "amount_due": 9_000}
    times = {"status_transitions": {"finalized_at": MAY}}
    told.tell("invoice.paid", MAY + 38 * DAY, **bill, **times, status="paid", amount_paid=9_000, amount_remaining=0)

    assert [(row["month"].month, row["paid"]) for row in told.ask("revenue")] == [(6, 9_000)]
    assert [(row["month"].month, row["owed"]) for row in told.ask("receivables")] == [(5, 9_000)]


@pytest.mark.parametrize("live", [False, True])
def test_a_connected_account_is_other_peoples_money(told: Told, live: bool) -> None:
    """Objects of the same ids in the platform's account and in two others, whatever their mode: each figure is of one
    account, the platform's unless another is named."""
    metrics = [*METRICS.values(), EXPLAIN_MRR]
    told.bill()
    alone = {metric.name: told.ask(metric) for metric in metrics}
    assert all(alone.values())
    told.bill("acct_1", 70_000, live=live)
    assert {metric.name: told.ask(metric) for metric in metrics} == alone
    assert [row["paid"] for row in told.ask("revenue", account="acct_1")] == [70_000]
    assert [row["mrr"] for row in told.ask("mrr_movements", account="acct_1")] == [70_000]
    assert told.ask("revenue", account="acct_2") == []


def test_the_live_mode_of_another_account_ends_no_test_mode(told: Told) -> None:
    """Which mode counts is told by the account alone that is asked for."""
    told.bill()
    told.bill("acct_1", 70_000, live=True)
    assert told.mrr() == 10_000
    told.bill(amount=500, live=True)
    assert told.mrr() == 500


def test_payments_of_another_scope_say_nothing_of_a_charge(told: Told) -> None:
    """Without payments of invoices a charge with a payment intent counts as that of an invoice: the payments of a
    connected account, or of the test mode, are no news of ours."""
    told.subscribe(item(4_900), live=True)
    charge = {"id": "ch_1", "object": "charge", "customer": "cus_1", "payment_intent": "pi_1", "status": "succeeded"}
    told.tell("charge.succeeded", MAY, live=True, **charge, amount=500, currency="usd", created=MAY)
    refund = {"id": "re_1", "object": "refund", "charge": "ch_1", "status": "succeeded", "amount": 100}
    told.tell("refund.created", MAY, live=True, **refund, currency="usd", created=MAY)
    assert [row["refunded"] for row in told.ask("revenue")] == [100]
    paid = {"id": "inpay_1", "object": "invoice_payment", "invoice": "in_9", "currency": "usd", "status": "paid"}
    paid["payment"] = {"type": "payment_intent", "payment_intent": "pi_9"}
    told.tell("invoice_payment.paid", MAY, live=True, account="acct_1", **paid)
    told.tell("invoice_payment.paid", MAY, **paid)
    assert [row["refunded"] for row in told.ask("revenue")] == [100]

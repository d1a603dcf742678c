"""Monthly recurring revenue: how it stands, moves and lasts. `marimo edit notebooks/mrr.py`."""

import marimo

app = marimo.App(app_title="Monthly recurring revenue")


@app.cell
def _():
    import os
    from collections import defaultdict
    from datetime import UTC, date, datetime, timedelta

    import marimo as mo
    import matplotlib.pyplot as plt

    import nilometer
    import nilometer.lake
    from nilometer.lake.metrics.metrics import METRICS
    from nilometer.lake.metrics.period import MetricPeriod

    lake = nilometer.lake.connect(os.environ.get("NILOMETER_LAKE") or nilometer.connect())
    return METRICS, MetricPeriod, UTC, date, datetime, defaultdict, lake, mo, os, plt, timedelta


@app.cell
def _(mo):
    mo.md("# Monthly recurring revenue\n\nThe figures of `nilometer metric`, one currency, in whole minor units.")


@app.cell
def _(METRICS, MetricPeriod, UTC, date, datetime, lake, os, timedelta):
    now = datetime.now(UTC)
    last = date.fromisoformat(os.environ.get("NILOMETER_LAST_DAY") or (now - timedelta(days=1)).date().isoformat())
    period = MetricPeriod(first=last.replace(day=1) - timedelta(days=700), last=last, known_at=now)

    def asked(metric):
        found = lake.sql(METRICS[metric].sql(period, account=os.environ.get("NILOMETER_ACCOUNT") or "self"))
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
        return [row for row in rows if row["currency"] == currency]

    currency = os.environ.get("NILOMETER_CURRENCY") or "usd"
    return asked, currency


@app.cell
def _(asked, currency, defaultdict, plt):
    daily, movements = asked("mrr_daily"), asked("mrr_movements")
    figure, (standing, moving) = plt.subplots(2, figsize=(8, 6), layout="constrained", sharex=True)
    standing.step([row["day"] for row in daily], [row["mrr"] for row in daily], where="post")
    standing.set_title(f"Monthly recurring revenue, {currency}")
    up, down = defaultdict(int), defaultdict(int)
    for name in ("new", "reactivation", "expansion", "contraction", "churn"):
        mine = [row for row in movements if row["movement"] == name]
        months = [row["month"] for row in mine]
        side = down if name in {"contraction", "churn"} else up
        moving.bar(months, [row["mrr"] for row in mine], 20, bottom=[side[month] for month in months], label=name)
        for row in mine:
            side[row["month"]] += row["mrr"]
    moving.set_title("How it moved")
    moving.legend()
    return daily, figure, movements


@app.cell
def _(asked, mo):
    cohorts = asked("cohorts")
    mo.ui.table(cohorts)


if __name__ == "__main__":
    app.run()

"""The same months asked as known at several times. `marimo edit notebooks/as_of.py`."""

import marimo

app = marimo.App(app_title="As of, as known at")


@app.cell
def _():
    import os
    from datetime import UTC, date, datetime, timedelta

    import marimo as mo
    import matplotlib.pyplot as plt

    import nilometer
    import nilometer.lake
    from nilometer.lake.metrics.metrics import METRICS
    from nilometer.lake.metrics.period import MetricPeriod

    lake = nilometer.lake.connect(os.environ.get("NILOMETER_LAKE") or nilometer.connect())
    return METRICS, MetricPeriod, UTC, date, datetime, lake, mo, os, plt, timedelta


@app.cell
def _(mo):
    mo.md(
        "# As of a time, as known at a time\n\nWhat came late changes what we say of a month, not what we said"
        " of it: asked as known at an earlier time, the answer is what it was then."
    )


@app.cell
def _(UTC, date, datetime, lake, os, timedelta):
    last = date.fromisoformat(
        os.environ.get("NILOMETER_LAST_DAY") or (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    )
    [times] = lake.sql(
        "select quantile_disc(known_at, 0), quantile_disc(known_at, 0.4), quantile_disc(known_at, 0.7), max(known_at)"
        " from invoices_history having count(*) > 0"
    ).fetchall() or [()]
    return last, times


@app.cell
def _(METRICS, MetricPeriod, lake, last, os, timedelta, times):
    currency = os.environ.get("NILOMETER_CURRENCY") or "usd"
    answers = {}
    for known_at in times:
        period = MetricPeriod(first=last.replace(day=1) - timedelta(days=700), last=last, known_at=known_at)
        account = os.environ.get("NILOMETER_ACCOUNT") or "self"
        rows = lake.sql(METRICS["revenue"].sql(period, account=account)).fetchall()
        answers[known_at] = [(row[0], row[2]) for row in rows if row[1] == currency]
    return answers, currency


@app.cell
def _(answers, currency, plt):
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    for _known, _paid in answers.items():
        axes.plot([month for month, _ in _paid], [amount for _, amount in _paid], label=f"{_known:%Y-%m-%d %H:%M}")
    axes.set_title(f"Paid a month, {currency}, as known at")
    axes.legend()
    return (figure,)


if __name__ == "__main__":
    app.run()

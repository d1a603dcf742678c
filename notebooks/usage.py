"""How much was used, by whom, day by day. `marimo edit notebooks/usage.py`, or `python notebooks/usage.py`."""

import marimo

app = marimo.App(app_title="Usage")


@app.cell
def _():
    import os

    import marimo as mo
    import matplotlib.pyplot as plt

    import nilometer
    import nilometer.lake

    lake = nilometer.lake.connect(os.environ.get("NILOMETER_LAKE") or nilometer.connect())
    return lake, mo, plt


@app.cell
def _(mo):
    mo.md("# Usage\n\nOf each meter a line: what was counted on each UTC day. A void takes back what it voids.")


@app.cell
def _(lake):
    daily = lake.sql(
        "select cast(time as date) as day, meter, sum(quantity) as quantity from usage group by all order by day, meter"
    ).fetchall()
    return (daily,)


@app.cell
def _(daily, plt):
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    for meter in sorted({meter for _, meter, _ in daily}):
        mine = [(day, quantity) for day, name, quantity in daily if name == meter]
        axes.plot([day for day, _ in mine], [float(quantity) for _, quantity in mine], marker="o", label=meter)
    axes.set_title("Usage a day")
    axes.legend()
    return (figure,)


@app.cell
def _(lake, mo):
    who = lake.sql(
        "select workspace_id, meter, sum(quantity) as quantity, count(*) as events from usage group by all order by all"
    )
    mo.ui.table([dict(zip(who.columns, row, strict=True)) for row in who.fetchall()])


if __name__ == "__main__":
    app.run()

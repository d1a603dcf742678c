"""Runs a notebook and saves its picture; in `.venv/notebooks`: `python notebook.py NOTEBOOK PICTURE`.

The lake and the last day are in the environment (`NILOMETER_LAKE`, `NILOMETER_LAST_DAY`). One JSON line: how many lines
and bars with something in them the picture has.
"""

from __future__ import annotations

import importlib.util
import json
import sys

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "nilometer", "svg.fonttype": "none"})


def main(notebook: str, picture: str) -> None:
    spec = importlib.util.spec_from_file_location("notebook_under_test", notebook)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, made = module.app.run()
    figure = made["figure"]
    figure.savefig(picture, metadata={"Date": None})
    lines = sum(len(line.get_xdata()) > 1 for axes in figure.axes for line in axes.lines)
    print(json.dumps({"lines": lines, "bars": sum(len(axes.patches) for axes in figure.axes)}))


if __name__ == "__main__":
    main(*sys.argv[1:])

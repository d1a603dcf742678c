"""Conditions and numbers mean the same the first time and from memory."""

from __future__ import annotations

import json
import subprocess
import sys

COMPARED = r"""
import json
from ministack.services import dynamodb
from nilometer.local.patches import texts

numbers = ["0", "-0", "1", "-1", "1.0", "01", "1e3", "1E+125", "1E126", "1E-131", "123.4500", "9" * 38, "9" * 39]
numbers += ["", " 1", "1_0", "x", "nan", "Infinity", "\u0661", None, 1, 1.5, True, ["1"], {"N": "1"}]
conditions = ["attribute_not_exists(pk)", "#a = :b AND (c <> :d OR size(e[0].f) <= :g)", "a BETWEEN :b AND :c"]
conditions += ["=", "", "("]


def asked(function, values):
    found = []
    for value in values:
        try:
            found.append(repr(function(value)))
        except Exception as error:
            found.append(type(error).__name__)
    return found


def all_asked():
    return [
        asked(dynamodb._ddb_canonicalize_number, numbers),
        asked(dynamodb._number_size_bytes, numbers),
        asked(dynamodb._tokenize, [*conditions, None, 7]),
        asked(dynamodb._condition_syntax_error, conditions),
    ]


before = all_asked()
texts.use()
dynamodb._tokenize(conditions[0]).clear()  # who asked may do with it what he likes
print(json.dumps([before == all_asked(), before == all_asked(), len({str(one) for one in before})]))
"""


def test_a_text_means_the_same_from_memory() -> None:
    """Also what is none."""
    done = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout.splitlines()[-1]) == [True, True, 4]

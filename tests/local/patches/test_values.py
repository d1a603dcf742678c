"""Items are measured and judged as MiniStack does it."""

from __future__ import annotations

import json
import subprocess
import sys

COMPARED = r"""
import copy, json
from ministack.services import dynamodb
from nilometer.local.patches import values

held = [{"S": "a"}, {"S": ""}, {"S": "\u00e9\U0001f600"}, {"S": 1}, {"S": None}, {"S": "a", "N": "1"}, {}, None, "a"]
held += [[], {"N": "1.50"}, {"N": "x"}, {"N": 1}, {"B": "aGFsbG8="}, {"B": "?"}, {"BOOL": True}, {"BOOL": 1}]
held += [{"NULL": True}, {"SS": ["a", "b"]}, {"SS": ["a", "a"]}, {"NS": ["1", "1.0"]}, {"BS": ["YQ==", "YQ=="]}]
held += [{"X": "a"}, {"L": [{"S": "a"}, {"N": "x"}]}, {"M": {"\u00e9": {"S": "\u00e9"}, "n": {"SS": []}}}]
held.append({"S": "\ud800"})
for depth in (30, 31, 32, 33):
    deep = {"S": "a"}
    for _ in range(depth):
        deep = {"L": [deep]}
    held.append(deep)


def asked(function, *given):
    try:
        return repr(function(*copy.deepcopy(given)))
    except Exception as error:
        return type(error).__name__


items = [None, [], {"\ud800": {"S": "a"}}, *({"\u00e9": value} for value in held)]


def all_asked():
    return [
        [asked(dynamodb._item_size_bytes, item) for item in items],
        [asked(dynamodb._nesting_exceeded, value) for value in held],
        [asked(dynamodb._attribute_value_error, value) for value in held],
        [asked(dynamodb._validate_attribute_value, "name", value) for value in held],
        [asked(dynamodb._validate_item, {"pk": {"S": "1"}, "v": value}, "pk", "sk") for value in held],
    ]


before = all_asked()
values.use()
after = all_asked()
print(json.dumps([before == after, [len(set(one)) for one in before]]))
"""


def test_an_item_is_measured_and_judged_as_before() -> None:
    """Also what is none, too deep, or no UTF-8."""
    done = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True, check=True)
    same, different = json.loads(done.stdout.splitlines()[-1])

    assert same
    assert min(different) > 1

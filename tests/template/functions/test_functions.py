"""Functions, their handlers and their environment."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.cloudformation import Template, referred

from nilometer.aws.clients import ONCE
from nilometer.flows.notices import delivery, mailing, posting


def own_variables(template: Template, function: str) -> set[str]:
    """Without those that all functions share."""
    properties: Mapping[str, Any] = template.of("AWS::Serverless::Function")[function]
    return set(properties["Environment"]["Variables"])


def variables_read(module: str, by: str = "variables") -> set[str]:
    """What a module asks `variables` or `optional` for, from its source."""
    spec = importlib.util.find_spec(module)
    assert spec, module
    assert spec.origin
    calls = [node for node in ast.walk(ast.parse(Path(spec.origin).read_text())) if isinstance(node, ast.Call)]
    asked = [argument for call in calls if ast.unparse(call.func) == by for argument in call.args]
    return {ast.literal_eval(argument) for argument in asked}


def test_every_handler_imports(template: Template) -> None:
    """What the template names is there, can be called, and logs the id of its call."""
    for function in template.functions.values():
        module, _, attribute = function["Handler"].rpartition(".")
        handler = getattr(importlib.import_module(module), attribute)
        assert callable(handler)
        assert handler.__wrapped__, "without @handling"


ROOMS = {"domain", "aws", "flows", "lambdas"}  # those that src/Makefile gives every function


def test_a_handler_imports_nothing_that_its_build_leaves_out(template: Template, project: Path) -> None:
    """A room that `src/Makefile` does not copy is an ImportError at every call, on AWS alone."""
    makefile = (project / "src/Makefile").read_text()
    given = {
        name: set(rooms.split())
        for targets, rooms in re.findall(r"^(build-.*): rooms = (.+)$", makefile, re.MULTILINE)
        for name in re.findall(r"build-(\w+)", targets)
    }
    for name, function in template.functions.items():
        module = function["Handler"].rpartition(".")[0]
        asked = f"import sys, {module}; print(*(m for m in sys.modules if m.startswith('nilometer.')))"
        loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
        rooms = {one.split(".")[1] for one in loaded.split() if one.count(".") > 1}
        assert rooms <= ROOMS | given.get(name, set()), name


def test_one_word_names_function_module_role_and_logs(template: Template) -> None:
    """One search finds the whole flow."""
    for name, function in template.functions.items():
        flow = name.removesuffix("Function")
        asked = "http." if flow in {"Api", "Console", "Hooks"} else ""
        assert function["Handler"] == f"nilometer.lambdas.{asked}{flow.lower()}.handler"
        assert referred(function["Role"]) == f"{flow}Role"
        assert referred(function["LoggingConfig"]["LogGroup"]) == f"{flow}Logs"


def test_what_a_function_is_given_it_reads(template: Template) -> None:
    """And what it needs, the template sets."""
    given = {name: own_variables(template, name) for name in template.functions}
    modules = {name: function["Handler"].rpartition(".")[0] for name, function in template.functions.items()}
    read = {name: variables_read(module) for name, module in modules.items()}
    read["ConsoleFunction"] |= variables_read("nilometer.lambdas.http.stack")
    options = {name: variables_read(module, by="optional") for name, module in modules.items()}

    assert {name: names - options[name] for name, names in given.items()} == read


def test_shared_variables_are_powertools_own(template: Template) -> None:
    """Nothing of ours reads the environment past `variables` and `optional`."""
    shared = template.body["Globals"]["Function"]["Environment"]["Variables"]

    assert set(shared) == {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}


# What may all the same, and why.
READERS = {
    "clients.py": "AWS_REGION, which boto3 itself does not read",
    "analyst.py": "an analyst's own process, which has no settings",
}


@pytest.mark.parametrize("room", ["domain", "flows", "lake", "aws", "stripe_api"])
def test_rooms_below_the_handlers_do_not_read_the_environment(project: Path, room: str) -> None:
    """A flow takes its dependencies as arguments."""
    reading = [
        path.name
        for path in (project / "src/nilometer" / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]

    assert [name for name in reading if name not in READERS] == []


def test_logs_are_json_and_kept_for_a_bounded_time(template: Template) -> None:
    """A log group that Lambda makes by itself is kept for ever."""
    groups = template.of("AWS::Logs::LogGroup")

    assert template.body["Globals"]["Function"]["LoggingConfig"] == {
        "LogFormat": "JSON",
        "SystemLogLevel": {"Fn::If": ["IsQuiet", "WARN", "INFO"]},
    }
    for function in template.functions.values():
        assert groups[referred(function["LoggingConfig"]["LogGroup"])]["RetentionInDays"]


def test_functions_run_on_one_pinned_runtime(template: Template) -> None:
    """The one that `src/Makefile` fetches wheels and compiles bytecode for."""
    assert {function["Runtime"] for function in template.functions.values()} == {"python3.13"}
    assert {function["Timeout"] <= 900 for function in template.functions.values()} == {True}


def test_posts_and_mails_end_before_their_function(template: Template) -> None:
    """Begun in the last moment: a look-up, a connection and an answer; for a mail SES too. Three seconds are for the
    store. Whatever is cut off there is delivered again, and a mail is uncertain."""
    attempt = posting.LOOKUP_SECONDS + posting.CONNECT_SECONDS + posting.READ_SECONDS
    longest = max(delivery.SECONDS + attempt, mailing.SECONDS + attempt + sum(ONCE["sesv2"][:2]))

    assert longest + 3 <= template.functions["HooksFunction"]["Timeout"]


def test_only_production_reserves_concurrency(template: Template) -> None:
    """Lambda refuses to where fewer than a hundred executions would be left, and a new account has ten."""
    reserved = [
        f["ReservedConcurrentExecutions"] for f in template.functions.values() if "ReservedConcurrentExecutions" in f
    ]

    assert all(value["Fn::If"][0] == "IsProduction" for value in reserved)


def test_every_function_is_built_by_the_makefile(template: Template) -> None:
    """SAM's own Python builder would give each function every dependency."""
    built = {n: r.get("Metadata") for n, r in template.resources.items() if r["Type"] == "AWS::Serverless::Function"}

    assert {tuple(metadata.items()) for metadata in built.values()} == {(("BuildMethod", "makefile"),)}


def test_only_the_own_account_names_workspaces_unless_somebody_says_so(template: Template) -> None:
    """In production in live mode alone; events, refetch and the nightly comparison read the same scopes."""
    default = {"Fn::If": ["IsProduction", "self/live", "self/live self/test"]}
    said = {"Fn::If": ["HasBillingScopes", {"Ref": "BillingScopes"}, default]}
    told = {
        name: function["Environment"]["Variables"]["BILLING_SCOPES"]
        for name, function in template.of("AWS::Serverless::Function").items()
        if "BILLING_SCOPES" in function["Environment"]["Variables"]
    }

    assert told == {"BillingFunction": said, "ReconcileFunction": said}
    assert template.body["Parameters"]["BillingScopes"]["Default"] == ""


@pytest.mark.parametrize("function", ["Console", "Redrive"])
def test_who_sends_dead_letters_back_knows_all_of_them(template: Template, function: str) -> None:
    """By its environment, with the right to take from each and to send to the queue of each."""
    named = template.of("AWS::Serverless::Function")[f"{function}Function"]["Environment"]["Variables"]["DEAD_LETTERS"]
    _url, *places = named["Fn::Sub"].split()
    pairs = [one.replace(".QueueName}", "}").split(",")[1:] for one in places]
    letters, sources = ({name[2:-1] for one in pairs for name in one[at : at + 1]} for at in (0, 1))
    [policy] = template.of("AWS::IAM::Role")[f"{function}Role"]["Policies"]

    def on(action: str) -> set[str]:
        allowed = [one for one in policy["PolicyDocument"]["Statement"] if action in one["Action"]]
        return {referred(arn) for one in allowed for arn in one["Resource"]}

    assert letters == on("sqs:ReceiveMessage") == template.dead_letter_queues
    assert sources == on("sqs:SendMessage") == set(template.source_queues)


def test_the_variables_of_a_function_fit(template: Template) -> None:
    """Lambda takes 4 KB, as JSON; with a stack's name of 30 characters, in the region with the longest name."""
    common = template.body["Globals"]["Function"]["Environment"]["Variables"]
    sizes = {
        name: len(json.dumps({k: filled(template, v) for k, v in {**common, **own}.items()}, separators=(",", ":")))
        for name, function in template.of("AWS::Serverless::Function").items()
        if (own := function["Environment"]["Variables"])
    }

    assert sizes["ConsoleFunction"] > 2_000  # what is not filled in would fit into anything
    assert {name: size for name, size in sizes.items() if size > 4_096} == {}


STACK, REGION, ACCOUNT = "s" * 30, "ap-northeast-1", "1" * 12
LONGEST = {"ConsoleOrigin": "https://" + "o" * 60, "PortalOrigins": " ".join(["https://" + "p" * 60] * 2)}


def filled(template: Template, value: Any) -> str:
    """As CloudFormation fills it in, with names as long as it makes them; of two branches the longer one."""
    match value:
        case {"Ref": name}:
            return reference(template, name)
        case {"Fn::GetAtt": [name, attribute]}:
            return reference(template, f"{name}.{attribute}")
        case {"Fn::If": [_, *branches]}:
            return max((filled(template, one) for one in branches), key=len)
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([\w:.]+)\}", lambda found: reference(template, found[1]), text)
    return str(value)


def reference(template: Template, name: str) -> str:
    name, _, attribute = name.partition(".")
    pseudo = {"AWS::StackName": STACK, "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::NoValue": ""}
    if name not in template.resources:
        known = pseudo | {n: str(one.get("Default", "")) for n, one in template.body["Parameters"].items()} | LONGEST
        return known.get(name, "aws")
    physical = f"{STACK}-{name}-AbCdEfGhIjKl"
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{physical}"
    match template.resources[name]["Type"], attribute:
        case "AWS::SQS::Queue", "":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{physical}"
        case _, "Alias":
            return f"{arn}:live"
        case _, "Arn" | "ApiEndpoint":
            return arn
        case (("AWS::SecretsManager::Secret" | "AWS::SNS::Topic"), ""):
            return f"{arn}-abcdef"
    return physical

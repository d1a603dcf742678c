"""template.yaml as CloudFormation reads it, with names for what the tests ask about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Properties = Mapping[str, Any]


@dataclass(frozen=True)
class Template:
    """The parsed template. Tags are long forms: `{"Ref": ...}`, `{"Fn::GetAtt": [...]}`."""

    body: Mapping[str, Any]

    @property
    def resources(self) -> Mapping[str, Any]:
        resources: Mapping[str, Any] = self.body["Resources"]
        return resources

    def of(self, resource_type: str) -> dict[str, Properties]:
        """Properties by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == resource_type
        }

    @property
    def functions(self) -> dict[str, Properties]:
        """With the globals filled in."""
        common = self.body["Globals"]["Function"]
        return {name: {**common, **own} for name, own in self.of("AWS::Serverless::Function").items()}

    @property
    def mappings(self) -> dict[str, Properties]:
        return self.of("AWS::Lambda::EventSourceMapping")

    @property
    def queue_mappings(self) -> dict[str, Properties]:
        queues = self.of("AWS::SQS::Queue")
        return {n: m for n, m in self.mappings.items() if referred(m["EventSourceArn"]) in queues}

    @property
    def stream_mappings(self) -> dict[str, Properties]:
        return {n: m for n, m in self.mappings.items() if n not in self.queue_mappings}

    @property
    def dead_letter_queues(self) -> set[str]:
        """Every queue that a redrive policy, a rule, a schedule or a function names as its dead letter queue."""
        named = {referred(q["RedrivePolicy"]["deadLetterTargetArn"]) for q in self.source_queues.values()}
        return named | {referred(value["Arn"]) for value in under("DeadLetterConfig", self.resources)}

    @property
    def source_queues(self) -> dict[str, Properties]:
        return {name: queue for name, queue in self.of("AWS::SQS::Queue").items() if "RedrivePolicy" in queue}

    @property
    def statements(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every statement of every role, those under a condition too, with the role's logical id."""
        for name, role in self.of("AWS::IAM::Role").items():
            for policy in role.get("Policies", ()):
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield name, statement["Fn::If"][1] if "Fn::If" in statement else statement

    @property
    def statements_of_policies(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every statement of every managed policy, with the policy's logical id."""
        for name, policy in self.of("AWS::IAM::ManagedPolicy").items():
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement

    @property
    def queue_permissions(self) -> Iterator[Mapping[str, Any]]:
        """Every statement of every queue policy, those under a condition too."""
        for policy in self.of("AWS::SQS::QueuePolicy").values():
            for statement in policy["PolicyDocument"]["Statement"]:
                yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def senders(statement: Mapping[str, Any]) -> list[str]:
    """Logical ids of the rules that a queue policy's statement lets in."""
    return [referred(arn) for arn in listed(statement["Condition"]["ArnEquals"]["aws:SourceArn"])]


def referred(value: Any) -> str:
    """The logical id behind `!Ref X`, `!Ref X.Alias` and `!GetAtt X.Arn`."""
    [(function, target)] = value.items()
    return str(target if function == "Ref" else target[0]).partition(".")[0]


def under(name: str, tree: Any) -> Iterator[Any]:
    """Every value that stands below the key `name`, however deep."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if key == name:
                yield value
            yield from under(name, value)
    elif isinstance(tree, list):
        for value in tree:
            yield from under(name, value)


def listed(value: Any) -> list[Any]:
    """IAM takes one or a list."""
    return list(value) if isinstance(value, list) else [value]

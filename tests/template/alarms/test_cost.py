"""What the template runs has a place in the cost of an event, or is said not to be counted."""

from __future__ import annotations

from tests.support.cloudformation import Template

from nilometer.local.demo.cost import BY_FUNCTION, BY_QUEUE, NOBODYS


def test_every_function_belongs_to_a_kind_of_event(template: Template) -> None:
    """A new one must not make events look cheap. The lake's work belongs to whose queue it is."""
    known = {*BY_FUNCTION, *NOBODYS, "LakeFunction"}

    assert set(template.functions) == known - set(template.source_queues)


def test_every_queue_belongs_to_a_kind_of_event(template: Template) -> None:
    """Dead letters have no cost of their own."""
    assert set(template.source_queues) == {*BY_QUEUE, *NOBODYS} - set(template.functions)

"""Fields of a test report that are not sent each time, for both sides: most reports are of phases that passed silently."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Fields that the controller sets. They are not sent.
KNOWN = ("nodeid", "location")

#: Fields that are sent only if they differ from those of the test's report before.
REPEATED = ("keywords", "user_properties")

#: Fields that are sent only if they have another value.
USUAL: dict[str, Any] = {"$report_type": "TestReport", "outcome": "passed", "longrepr": None, "sections": []}


def omit(data: dict[str, Any], before: dict[str, Any]) -> None:
    """Remove the fields that need not be sent.

    :param data: a report, as pytest serializes it; changed in place.
    :param before: the repeated fields of the test's report before; empty for the first one. Changed in place.
    """
    for name in KNOWN:
        data.pop(name, None)
    for name in REPEATED:
        value = data.get(name)
        if value is not None and before.get(name) == value:
            del data[name]
        before[name] = value
    for name, value in USUAL.items():
        if name in data and data[name] == value:
            del data[name]


def restore(data: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return a report with the fields that :func:`omit` removed, except the known ones.

    :param before: the repeated fields of the test's report before; empty for the first one. Changed in place.
    """
    for name in REPEATED:
        if name in data:
            before[name] = data[name]
        elif name in before:
            data[name] = before[name]
    # Hooks of pytest add sections to a report.
    return {**USUAL, "sections": [], **data}

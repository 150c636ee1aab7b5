"""The JSON Schema of the report, made from the classes of its values."""

from __future__ import annotations

from typing import Any

from pytest_wheelcheck.reporting.compare import Comparison
from pytest_wheelcheck.reporting.fields import classes, object_schema
from pytest_wheelcheck.reporting.report import FORMAT, FORMAT_VERSION, Report

#: The values of a report, the outermost first.
CLASSES = (*classes(Report), *classes(Comparison))

#: Fields of a file that no class has, before those of the class: the value, and the meaning.
HEAD = {"format": (FORMAT, "the name of the file format"), "format_version": (FORMAT_VERSION, "its version")}

#: The same behind them: the class of the entries, and the meaning.
TAIL = {
    "comparisons": (
        Comparison,
        "where one wheel and interpreter were tested on several machines: computed from the rest",
    )
}


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of the reports that this version writes."""
    _, *others = CLASSES
    report = object_schema(Report)
    head = {name: {"const": value, "description": meaning} for name, (value, meaning) in HEAD.items()}
    tail = {
        name: {"description": meaning, "type": "array", "items": {"$ref": f"#/$defs/{kind.__name__}"}}
        for name, (kind, meaning) in TAIL.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{FORMAT}:report:{FORMAT_VERSION}",
        "title": f"Report of {FORMAT}, version {FORMAT_VERSION}",
        **report,
        "properties": {**head, **report["properties"], **tail},
        "required": [*head, *report["required"], *tail],
        "$defs": {kind.__name__: object_schema(kind) for kind in others},
    }

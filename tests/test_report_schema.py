"""The JSON report fits its published schema, and readers of other versions of it know what to expect."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from builders import build_wheel
from nodes import Run
from test_reporting import full_report
from typed import typed

from pytest_wheelcheck.reporting.compare import compare
from pytest_wheelcheck.reporting.fields import descriptions
from pytest_wheelcheck.reporting.report import OLDEST_VERSION, from_json, to_json
from pytest_wheelcheck.reporting.schema import CLASSES

DOCS = Path(__file__).parent.parent / "docs"


def validate(text: str) -> Any:
    """Compare a report with the published schema, also for fields that the schema does not name."""
    schema = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for each in (schema, *schema["$defs"].values()):
        each["additionalProperties"] = False
    data = json.loads(text)
    jsonschema.validate(data, schema)
    return data


def test_the_published_schema_and_the_page_are_what_the_code_declares() -> None:
    found = runpy.run_path(str(DOCS / "generate.py"))
    for name, text in (("report.schema.json", found["schema"]()), ("report.md", found["report_page"]())):
        assert (DOCS / name).read_text(encoding="utf-8") == text, "run: python docs/generate.py"


def test_the_page_has_a_row_for_every_field_of_a_file() -> None:
    """Also for those of the file itself, which no class of values has: a file is compared with the page, not a class."""
    page = (DOCS / "report.md").read_text(encoding="utf-8").partition("\n## Fields\n")[2]
    rows = {
        section.partition("\n")[0]: re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        for section in page.split("\n### ")[1:]
    }
    schema = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
    assert rows == {
        "Report": list(schema["properties"]),
        **{name: list(each["properties"]) for name, each in schema["$defs"].items()},
    }
    report = full_report()
    assert rows["Report"] == list(json.loads(to_json(report, comparisons=compare(report))))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_field_of_a_report_is_explained(kind: type) -> None:
    assert list(descriptions(kind)) == [field.name for field in fields(kind)]


def test_a_report_of_several_machines_fits_the_schema() -> None:
    report = full_report()
    data = validate(to_json(report, comparisons=compare(report)))
    assert data["comparisons"]


def test_reports_of_runs_fit_the_schema_and_are_merged(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    (pytester.path / "dist" / "broken-1.0-py3-none-any.whl").write_bytes(b"no archive")
    (pytester.path / "test_it.py").write_text("def test_it(): pass\ndef test_not(): assert 0\n")
    run_wheels("--wheel", "dist", "--wheel-report=r.json", "test_it.py")
    data = validate((pytester.path / "r.json").read_text())
    assert [len(wheel["targets"]) for wheel in data["wheels"]] == [0, 1]
    merged = pytester.run(sys.executable, "-m", "pytest_wheelcheck", "merge", "r.json", "--wheel-report=m.json")
    assert merged.ret == 1, "a test failed"
    assert validate((pytester.path / "m.json").read_text())["wheels"] == data["wheels"]


def test_the_former_version_is_read() -> None:
    report = full_report()
    data = {**json.loads(to_json(report)), "format_version": OLDEST_VERSION}
    for name in ("started", "command", "commit"):
        del data[name]
    assert from_json(json.dumps(data), source="x") == report


def test_fields_of_later_versions_are_ignored() -> None:
    report = full_report()
    data = json.loads(to_json(report))
    data["weather"] = "fine"
    data["wheels"][0]["targets"][0]["results"][0]["color"] = ["red"]
    assert from_json(json.dumps(data), source="x") == report


@pytest.mark.skipif(sys.platform == "win32", reason="jq is not published for Windows")
def test_the_example_for_jq_lists_the_failures(tmp_path: Path) -> None:
    """The library runs its filter everywhere, and jq itself the whole command where it is installed."""
    import jq

    command = """jq -r '.wheels[] | .filename as $wheel | .targets[] | .name as $target
    | .results[] | select(.outcome == "failed" or .outcome == "error")
    | (.text | split("\\n") | (map(select(startswith("E "))) + .)[0] | sub("^E +"; "")) as $line
    | [$wheel, $target, .name, $line] | @tsv' report.json"""
    expected = "pkg-1.0-cp312-cp312-manylinux_2_17_aarch64.whl\tcp312-linux-aarch64\ttests/b.py::test_b\tassert 1 == 2"
    report = to_json(full_report())
    assert jq.compile(command.split("'")[1]).input_text(report).all() == [expected]
    if shutil.which("jq"):
        (tmp_path / "report.json").write_text(report, encoding="utf-8")
        assert typed(command, tmp_path) == f"{expected}\n"

"""Imports of test requirements by the wheel, and tests of a package that cannot be imported."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import RunDist

from pytest_wheelcheck.reporting.report import BAD, from_json

LINES = {
    "plain": "import extra_tool\n",
    "by_name": "import importlib\n    importlib.import_module('tool_by_name')\n",
    "catches": "try:\n        import tool_caught\n    except ImportError:\n        pass\n",
    "calls": "try:\n        needs()\n    except ModuleNotFoundError:\n        pass\n\ndef needs():\n    import tool_of_a_call\n",
    "suppresses": "import contextlib\n    with contextlib.suppress(ImportError):\n        import tool_suppressed\n",
    "asks": "import importlib.util\n    if importlib.util.find_spec('tool_asked'):\n        import tool_asked\n",
    "of_an_extra": "import tool_of_an_extra\n",
    "by_choice": "import importlib, json\n    importlib.import_module(json.loads('\"tool_\\\\u0063hosen\"'))\n",
    "declared": "import declared_tool\n",
}

#: The tests that a wheel carries need what tests need.
OF_TESTS = "def of_tests():\n    import tool_of_packed_tests\n"

TOOLS = (
    *("extra_tool", "tool_by_name", "tool_caught", "tool_of_a_call", "tool_suppressed", "tool_asked"),
    *("tool_of_an_extra", "tool_chosen", "declared_tool", "tool_at_the_top", "tool_of_tests"),
    "tool_of_packed_tests",
)


@pytest.fixture
def links(pytester: pytest.Pytester) -> Path:
    directory = pytester.path / "links"
    for name in TOOLS:
        build_wheel(directory, name.replace("_", "-"), files={f"{name}.py": ""})
    return directory


def test_the_wheel_imports_what_only_the_tests_require(
    pytester: pytest.Pytester, run_dist: RunDist, links: Path
) -> None:
    code = "".join(f"def {name}():\n    {body}\n" for name, body in LINES.items())
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={
            "pkg/__init__.py": "",
            "pkg/code.py": code,
            "pkg/conftest.py": OF_TESTS,
            "pkg/top.py": "import tool_at_the_top\n",
        },
        requires=["declared-tool", "tool-of-an-extra; extra == 'more'"],
        extras=["more"],
    )
    tests = "".join(f"def test_{name}():\n    code.{name}()\n" for name in LINES)
    pytester.makepyfile(
        test_code="from pkg import code, conftest, top\nimport tool_of_tests\n"
        f"{tests}\ndef test_of_tests():\n    conftest.of_tests()\n\ndef test_fails():\n    assert False\n"
    )
    ran = run_dist("--wheel-find-links", links, *(f"--wheel-requires={name.replace('_', '-')}" for name in TOOLS))
    assert ran.only("FAILED") == [
        "modules[pkg]",
        "test_code.py::test_by_name",
        "test_code.py::test_fails",
        "test_code.py::test_plain",
    ]
    assert ran.only("ERROR") == []
    assert "the wheel imports extra_tool in pkg/code.py, line 2, but does not declare it" in ran.text
    assert 'Fix: add "extra-tool" to [project] dependencies in pyproject.toml' in ran.text
    assert "the wheel imports tool_by_name in pkg/code.py" in ran.text
    # The import check reported this one.
    assert "the wheel imports tool_at_the_top" not in ran.text


BROKEN = {
    "raises": "raise RuntimeError('broken')\n",
    "syntax": "def broken(:\n",
    "leaves": "import os\nos._exit(7)\n",
    "lacks": "import nowhere_at_all\n",
    "works": "",
}


def test_one_cause_is_one_failure(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={f"{name}/__init__.py": code for name, code in BROKEN.items()} | {"raises/sub.py": ""},
        entry_points={"console_scripts": {"tool": "raises.sub:main"}},
    )
    for name in BROKEN:
        pytester.makepyfile(**{f"test_top_{name}": f"import {name}\ndef test_a(): pass\ndef test_b(): pass\n"})
    pytester.makepyfile(
        test_inside="".join(f"def test_{name}():\n    import {name}\n" for name in BROKEN)
        + "def test_own():\n    raise RuntimeError('of the test')\n"
        + "def test_lacks_own():\n    from works import forgotten\n"
    )
    ran = run_dist("-rs", "--wheel-report=report.json", "--wheel-report=report.html")
    broken = [name for name in BROKEN if name != "works"]
    assert ran.only("FAILED") == [
        *sorted(f"import[{name}]" for name in broken),
        "test_inside.py::test_lacks_own",
        "test_inside.py::test_own",
    ]
    assert ran.only("ERROR") == []
    assert set(ran.only("SKIPPED")) == {
        "entry[tool]",
        "modules[raises]",
        *(f"test_inside.py::test_{name}" for name in broken),
        *(f"test_top_{name}.py" for name in broken),
    }
    for name in broken:
        assert f"import[{name}] did not pass" in ran.text
    # The reports have the same failures, and no others.
    report = from_json((pytester.path / "report.json").read_text("utf-8"), source="report.json")
    results = [*report.wheels[0].checks, *report.wheels[0].targets[0].results]
    assert sorted(result.name for result in results if result.outcome in BAD) == ran.only("FAILED")
    assert report.failures == len(ran.only("FAILED"))
    page = (pytester.path / "report.html").read_text("utf-8")
    listed = re.findall(r'<li data-o="failed"[^>]*>.*?<code[^>]*>([^<]*)</code>', page)
    assert sorted(map(unescape, listed)) == ran.only("FAILED")


def test_test_tools_bring_what_the_wheel_lacks(pytester: pytest.Pytester, run_dist: RunDist, links: Path) -> None:
    """The import failed in the import check, but the tests run: they show more faults."""
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": "import extra_tool\n"})
    pytester.makepyfile(test_a="import pkg\ndef test_a(): pass\ndef test_b():\n    from pkg import forgotten\n")
    ran = run_dist("--wheel-find-links", links, "--wheel-requires=extra-tool")
    assert ran.only("FAILED") == ["import[pkg]", "test_a.py::test_b"]
    assert ran.nodes["test_a.py::test_a"] == "PASSED"

"""Imports by the wheel of what only the test requirements install, where a test has imported it before."""

from __future__ import annotations

import pytest
from builders import build_wheel
from nodes import RunDist

#: Functions of the wheel that import a tool, each with its call.
FAULTS = {
    "plain": ("def plain():\n    import tool_plain\n", "import tool_plain\n    code.plain()"),
    "part": ("def part():\n    from tool_part.sub import X\n", "import tool_part.sub\n    code.part()"),
    "nested": ("def nested():\n    def inner():\n        import tool_nested as t\n    inner()\n", "code.nested()"),
    # pytest has loaded it before the tests.
    "of_pytest": ("def of_pytest():\n    import pluggy\n", "code.of_pytest()"),
}

#: The same, where the user of the wheel may have the tool, or need not have it.
SOUND = {
    "caught": (
        "def caught():\n    try:\n        import tool_caught\n    except ImportError:\n        pass\n",
        "code.caught()",
    ),
    "flag": (
        (
            "try:\n    import tool_flag\nexcept ImportError:\n    tool_flag = None\n\n"
            "def flag():\n    if tool_flag:\n        import tool_flag as t\n"
        ),
        "code.flag()",
    ),
    "loaded": (
        "def loaded():\n    import sys\n    if 'tool_loaded' in sys.modules:\n        import tool_loaded\n",
        "code.loaded()",
    ),
    "asked": (
        (
            "import importlib.util\ndef has(name):\n    return importlib.util.find_spec(name) is not None\n\n"
            "def asked():\n    if has('tool_asked'):\n        import tool_asked\n"
        ),
        "code.asked()",
    ),
    "given": ("def given(value):\n    import tool_given\n", "import tool_given\n    code.given(tool_given.Thing())"),
    "derived": (
        "def derived(values):\n    import tool_derived\n",
        "import tool_derived\n    class Own(tool_derived.Thing): pass\n    code.derived([Own()])",
    ),
    "kept": (
        "class Kept:\n    def __init__(self, value): self.value = value\n    def convert(self):\n        import tool_kept\n",
        "import tool_kept\n    code.Kept(tool_kept.Thing).convert()",
    ),
    "extra": ("def extra():\n    import tool_extra\n", "code.extra()"),
    "declared": ("def declared():\n    import tool_declared\n", "code.declared()"),
    "of_tests": ("def of_tests():\n    import pytest\n", "code.of_tests()"),
    "attribute": (
        "def attribute(name):\n    return getattr(__import__(name), 'lacking', 7)\n",
        "code.attribute('tool_attribute')",
    ),
}


def test_the_wheel_imports_what_a_test_has_imported(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    every = {**FAULTS, **SOUND}
    tools = [f"tool_{name}" for name in (*every, "plugin", "top") if name not in {"of_pytest", "of_tests"}]
    for name in tools:
        files = {f"{name}/__init__.py": "class Thing: pass\n", f"{name}/sub.py": "X = 1\n"}
        build_wheel(pytester.path / "links", name.replace("_", "-"), files=files)
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={
            "pkg/__init__.py": "",
            "pkg/code.py": "".join(text for text, _ in every.values()),
            "pkg/plugin.py": "def pytest_own_hook():\n    import tool_plugin\n",
            # The import check leaves it out, so the project has an opinion about it.
            "pkg/top.py": "import tool_top\n",
        },
        requires=["tool-declared", "tool-extra; extra == 'more'"],
        extras=["more"],
    )
    first = "".join(f"import {name}\n" for name in tools if name not in {"tool_plain", "tool_part", "tool_given"})
    tests = "".join(f"def test_{name}():\n    {call}\n" for name, (_, call) in every.items())
    pytester.makepyfile(
        test_code=f"{first}from pkg import code, plugin, top\n{tests}def test_plugin():\n    plugin.pytest_own_hook()\n"
        # Neither the specs nor the tracebacks of the tools are others than without us.
        "def test_specs():\n    import importlib, tool_plain\n    spec = tool_plain.__spec__\n"
        "    assert repr(spec).startswith('ModuleSpec(name=') and not spec._initializing\n"
        "    assert importlib.reload(tool_plain) is tool_plain\n"
        "def test_loop():\n    import time\n    start = time.monotonic()\n"
        "    for _ in range(100_000):\n        code.caught()\n    assert time.monotonic() - start < 20\n"
    )
    ran = run_dist(
        *("--wheel-find-links", "links", "-o", "wheel_import_ignore=pkg.top"),
        *(f"--wheel-requires={name.replace('_', '-')}" for name in tools),
    )
    assert ran.only("FAILED") == sorted(f"test_code.py::test_{name}" for name in FAULTS)
    assert ran.only("ERROR") == []
    assert "the wheel imports tool_plain in pkg/code.py, line 2, but does not declare it" in ran.text
    assert "only the test requirements install pluggy, so a user of the wheel does not have it" in ran.text
    assert 'Fix: add "tool-part" to [project] dependencies' in ran.text

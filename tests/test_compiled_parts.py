"""Native modules as Cython makes them: their frames name a source file that is on no disk."""

from __future__ import annotations

import pytest
from builders import build_wheel
from compiled import LINUX_TAG, SUFFIX, extension, needs_compiler
from nodes import RunDist

#: An import in a native module, with the frame that Cython adds.
NEEDS = """
    PyObject *found = PyImport_ImportModule("whole.errors");
    if (!found) {
        _PyTraceback_Add("init own", "own.pyx", 17);
        return -1;
    }
"""


@needs_compiler
@pytest.mark.parametrize(
    ("name", "files", "outcome", "text"),
    [
        ("whole.tools.clib", {}, "SKIPPED", "the wheel is the compiled part of another distribution, which has whole"),
        ("whole-speedups", {}, "SKIPPED", "the wheel is the compiled part of another distribution, which has whole"),
        # With Python modules, with another name, or with the name of a plugin, it has to declare what it needs.
        ("whole-clib", {"tools.py": ""}, "FAILED", "does not declare a dependency that brings whole"),
        ("other-clib", {}, "FAILED", "does not declare a dependency that brings whole"),
        ("whole-plugin", {}, "FAILED", "does not declare a dependency that brings whole"),
    ],
)
def test_the_compiled_part_of_a_distribution(
    pytester: pytest.Pytester, run_dist: RunDist, name: str, files: dict[str, str], outcome: str, text: str
) -> None:
    head = "extern void _PyTraceback_Add(const char *, const char *, int);\n"
    native = extension(pytester.path / "build", "own", head=head, body=NEEDS)
    build_wheel(pytester.path / "dist", name, files={f"own{SUFFIX}": native, **files}, tags=[LINUX_TAG])
    ran = run_dist()
    assert ran.nodes["import[own]"] == outcome
    assert text in ran.text
    assert "own.pyx belongs to a dependency" not in ran.text

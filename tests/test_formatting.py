"""Exceptions that pytest formats in a target."""

from __future__ import annotations

import sys

import pytest
from builders import build_wheel
from nodes import RunDist


@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="the interpreters of published wheels are for Linux")
def test_a_package_is_not_imported_again_to_format_why_its_import_failed(
    pytester: pytest.Pytester, run_dist: RunDist
) -> None:
    """CPython 3.15 does that if a package lacks one of its own modules. The tests get the outcome of the other versions."""
    lacking = {
        "pkg/__init__.py": "from pkg._native import f\n",
        "late/part/__init__.py": "from late.part._native import f\n",
    }
    build_wheel(pytester.path / "dist", "pkg", files={"late/__init__.py": "", **lacking})
    pytester.makepyfile(
        test_a="import pkg\ndef test(): pass\n",
        test_b="def test_b(): import late.part\n",
        test_c="import sys\ndef test_c(): assert sys.version_info[:2] == (3, 15)\n",
    )
    ran = run_dist("--wheel-python=3.15t", "--wheel-providers=published")
    assert ran.nodes["test_a.py"] == "SKIPPED", ran.text
    assert "needs pkg, but import[pkg] did not pass" in ran.text
    assert ran.nodes["test_b.py::test_b"] == "FAILED"
    assert "E   ModuleNotFoundError: No module named 'late.part._native'" in ran.text
    assert ran.nodes["test_c.py::test_c"] == "PASSED"

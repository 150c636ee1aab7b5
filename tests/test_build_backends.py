"""A native module that the wheel lacks: the fix is in the terms of the project's build backend."""

from __future__ import annotations

import pytest
from builders import build_wheel
from nodes import RunDist
from test_imports import section

GENERIC = "include it in the packages of the build backend, or correct the import"


@pytest.mark.parametrize(
    ("requires", "line"),
    [
        ("maturin>=1,<2", 'set `module-name = "pkg._native"` in [tool.maturin] of pyproject.toml; '),
        ("setuptools-rust", 'set `target = "pkg._native"` in [[tool.setuptools-rust.ext-modules]] of pyproject.toml; '),
        ("scikit_build_core", "set `install(TARGETS _native DESTINATION pkg)` in CMakeLists.txt; "),
        ("hatchling", ""),
    ],
)
def test_the_fix_names_the_setting_of_the_backend(
    requires: str, line: str, pytester: pytest.Pytester, run_dist: RunDist
) -> None:
    pytester.makepyprojecttoml(f'[project]\nname = "pkg"\n[build-system]\nrequires = ["{requires}"]\n')
    (pytester.path / "python/pkg").mkdir(parents=True)
    (pytester.path / "python/pkg/code.py").touch()
    code = "from pkg._native import f\n"
    files = {"pkg/__init__.py": "", "pkg/late.py": code, "alone.py": code, "other.py": "import pkg.code\n"}
    build_wheel(pytester.path / "dist", "pkg", files=files)
    ran = run_dist()
    for name in ("import[alone]", "modules[pkg]"):
        assert f"Fix: {f'if it is the native module, {line}otherwise ' if line else ''}{GENERIC}\n" in section(
            ran, name
        )
    # Its source is Python code: it was left out.
    assert f"Fix: {GENERIC}\n" in section(ran, "import[other]")


def test_a_native_module_at_another_place_is_named_and_other_projects_are_not_read(
    pytester: pytest.Pytester, run_dist: RunDist
) -> None:
    build = '\n[build-system]\nrequires = ["maturin"]\n'
    files = {"pkg/__init__.py": "from ._native import f\n", "_native.abi3.so": ""}
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=["cp39-abi3-linux_x86_64"])
    pytester.makepyprojecttoml(f'[project]\nname = "pkg"{build}')
    assert "if it is the native module (the wheel has _native), set `module-name" in section(run_dist(), "import[pkg]")
    pytester.makepyprojecttoml(f'[project]\nname = "another"{build}')
    assert f"Fix: {GENERIC}\n" in section(run_dist(), "import[pkg]")

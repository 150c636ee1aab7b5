"""An undeclared dependency that a function of the wheel imports: only a test finds it."""

from __future__ import annotations

import pytest
from builders import build_wheel
from nodes import RunDist


@pytest.mark.parametrize("style", ["long", "short"])
def test_the_import_of_a_function_is_explained_once(style: str, pytester: pytest.Pytester, run_dist: RunDist) -> None:
    files = {
        "lazy/__init__.py": "def go():\n    import not_declared.part\n",
        "lazy/other.py": "def need():\n    import dep\n    dep.go()\n",
    }
    build_wheel(pytester.path / "links", "dep", files={"dep.py": "def go():\n    import of_dep\n"})
    build_wheel(pytester.path / "dist", "lazy", files=files, requires=["dep"])
    pytester.makepyfile(
        test_a="""
        import lazy.other

        def test_first(): lazy.go()

        def test_second(): lazy.go()

        def test_dependency(): lazy.other.need()

        def test_own(): import of_the_test
        """
    )
    ran = run_dist("--wheel-find-links=links", f"--tb={style}")
    assert len(ran.only("FAILED")) == 4
    cause = "Cause: lazy/__init__.py, line 2, imports not_declared: the wheel does not declare a dependency that brings"
    assert ran.text.count(cause) == 1, ran.text
    assert (
        "\nFix: add its project (not-declared, if that is the name) to [project] dependencies in pyproject.toml; or, "
        "if the users of lazy install it, " in ran.text
    )
    # The others are not faults of the wheel.
    assert ran.text.count("imports of_dep") == 0
    assert ran.text.count("the tests import of_the_test, which is not installed") == 1

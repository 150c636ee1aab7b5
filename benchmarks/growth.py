"""Measures how time and memory of a run grow with its size, and checks that nothing grows faster than linearly."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders import build_wheel
from materials import MANY, PYTEST, PYTHON, Materials
from measuring import Usage, exponent, run

#: The largest exponent between the last two sizes: 1 is linear, and one measurement varies.
LIMIT = 1.2

#: Tests that print 10 MB each.
_PRINTING = """
import pytest, demo

@pytest.mark.parametrize('number', range({}))
def test_printing(number):
    line = 'x' * 99
    for _ in range(100_000):
        print(line)
"""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One thing of which there is more and more.

    :param unit: what there is more of.
    :param sizes: how many.
    :param make: makes what a size needs; returns the arguments of pytest, and the working directory.
    """

    unit: str
    sizes: Sequence[int]
    make: Callable[[Materials, int], tuple[list[str], Path]]


def _tests(materials: Materials, size: int) -> tuple[list[str], Path]:
    return [f"--wheel={materials.demo}", PYTHON, "tests"], materials.project(f"tests-{size}", MANY.format(size))


def _wheels(materials: Materials, size: int) -> Path:
    cwd = materials.directory / f"wheels-{size}"
    if not cwd.is_dir():
        materials.project(cwd.name, "")
        for number in range(size):
            build_wheel(cwd / "dist", f"demo{number}", files={f"demo{number}/__init__.py": "VALUE = 1\n"})
    return cwd


def _checked(materials: Materials, size: int) -> tuple[list[str], Path]:
    return ["--wheel=dist", "--wheel-static"], _wheels(materials, size)


def _installed(materials: Materials, size: int) -> tuple[list[str], Path]:
    return ["--wheel=dist", PYTHON], _wheels(materials, size)


def _modules(materials: Materials, size: int) -> tuple[list[str], Path]:
    return [f"--wheel={materials.native_package(size)}"], materials.project(f"modules-{size}", "")


def _output(materials: Materials, size: int) -> tuple[list[str], Path]:
    cwd = materials.project(f"output-{size}", _PRINTING.format(size // 10))
    return [f"--wheel={materials.demo}", PYTHON, "tests"], cwd


def _megabytes(materials: Materials, size: int) -> tuple[list[str], Path]:
    data = random.Random(size)
    part = 5 if size >= 5 else 1
    files: dict[str, bytes | str] = {"large/__init__.py": ""}
    for number in range(size // part):
        files[f"large/data{number}.bin"] = data.randbytes(part * 1_000_000)
    wheel = build_wheel(materials.directory / f"large-{size}", "large", files=files)
    # Warns about large files.
    return [f"--wheel={wheel}", PYTHON], materials.project(f"megabytes-{size}", "")


AXES = {
    "growth-tests": Axis(unit="trivial tests", sizes=(10, 100, 1_000, 5_000, 20_000), make=_tests),
    "growth-static": Axis(unit="wheels, static checks only", sizes=(1, 5, 20, 60), make=_checked),
    "growth-wheels": Axis(unit="wheels, installed and imported", sizes=(1, 5, 20, 60), make=_installed),
    "growth-modules": Axis(unit="native modules in a wheel", sizes=(1, 10, 100, 400), make=_modules),
    "growth-output": Axis(unit="MB of output, 10 MB from each test", sizes=(10, 100, 1_000), make=_output),
    "growth-size": Axis(unit="MB in a wheel, checked, installed, imported", sizes=(1, 50, 500), make=_megabytes),
}


def grow(name: str, materials: Materials, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure every size of an axis once; return its points and exponents."""
    axis = AXES[name]
    sizes = axis.sizes[:-1] if materials.quick else axis.sizes
    points: list[tuple[int, Usage]] = []
    for size in sizes:
        arguments, cwd = axis.make(materials, size)
        if not points:  # fills the caches
            run((*PYTEST, *arguments), cwd)
        usage = run((*PYTEST, *arguments), cwd, memory=True)
        points.append((size, usage))
        progress(f"{size:,} {axis.unit}: {usage.seconds:.2f} s, {usage.controller:.0f} MB, {usage.tree:.0f} MB")
    return result(name, axis.unit, points)


def result(name: str, unit: str, points: Sequence[tuple[int, Usage]]) -> dict[str, Any]:
    """Return what is written about an axis; ``met`` if nothing grows faster than the sizes."""
    exponents = {
        field: round(exponent([size for size, _ in points], [getattr(usage, field) for _, usage in points]), 3)
        for field in ("seconds", "controller", "tree")
    }
    return {
        "name": name,
        "unit": unit,
        "points": [{"size": size, **asdict(usage)} for size, usage in points],
        "exponents": exponents,
        "met": max(exponents.values()) <= LIMIT,
    }


def lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| size | time | controller | all processes | growth between the last two sizes |"
    yield "| --- | --- | --- | --- | --- |"
    for axis in results:
        last = axis["points"][-1]
        growth = ", ".join(
            f"{label} {axis['exponents'][field]:.2f}"
            for field, label in (("seconds", "time"), ("controller", "controller"), ("tree", "all"))
        )
        for point in axis["points"]:
            yield (
                f"| {point['size']:,} {axis['unit']} | {point['seconds']:.2f} s | {point['controller']:.0f} MB "
                f"| {point['tree']:.0f} MB | {growth if point is last else ''} |"
            )

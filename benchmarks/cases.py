"""The cases of whole_runs.py: this plugin, and what users would run instead or the least that has to be done."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from materials import MANY, PYTEST, PYTHON, RPDS, TOX, Materials
from measuring import MeasurementError, Usage
from sides import Case, Ours, alternating, program

from pytest_wheelcheck.backends.wine import runner
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.wheels.reader import open_wheel

assert sys.platform != "win32"  # as the modules of both benchmarks below

import wine

PANDAS = pinned.PinnedWheel(
    distribution="pandas",
    version="3.1.1",
    python="3.13",
    abi="cp313",
    platform="manylinux_2_24_x86_64",
    sha256="645fa00fd85cfced2d2c09dc116d3694f578501b1ce4899153fbe64788ecda98",
)
SKLEARN = pinned.PinnedWheel(
    distribution="scikit-learn",
    version="1.9.1",
    python="3.13",
    abi="cp313",
    platform="manylinux_2_28_x86_64",
    sha256="55e79d6e9b0923f1a978179822bd43d7f5543f45e970a00fe861f43486380aba",
)

#: As after the installation, which leaves no bytecode.
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}

#: Tests that work for about a second each on an emulated aarch64.
_WORK = """
import pytest

@pytest.mark.parametrize('number', range({}))
def test_work(number):
    import rpds
    value = 0
    for step in range(850_000):
        value = (value * 5 + step) % 1_000_003
"""

#: Tests of which some end the interpreter. Each writes when it started.
_CRASHES = """
import os, time, pytest

@pytest.mark.parametrize('number', range(6))
def test_crash(number):
    import rpds
    with open({!r}, 'a') as file:
        file.write('%d %r\\n' % (number, time.time()))
    if number in (1, 3):
        os.abort()
"""


def pure(materials: Materials) -> Case:
    """Test a wheel with one Python module."""
    cwd = materials.project("pure", MANY.format(100))
    (cwd / "tox.ini").write_text(TOX, encoding="utf-8")
    tox = (sys.executable, "-m", "tox", "run", "-q", "-r", "-e", "py", "--installpkg", materials.demo)
    ours = Ours(argv=(*PYTEST, f"--wheel={materials.demo}", PYTHON, "tests"), cwd=cwd)
    return Case(
        title="one pure wheel, all checks, 100 tests",
        against="tox with tox-uv, environment made again",
        goal=1.0,
        ours=ours,
        pair=alternating(ours.measure, program(tox, cwd=cwd)),
    )


def static(materials: Materials) -> Case:
    """Compare the fixed cost of a run with a wheel."""
    cwd = materials.project("static", MANY.format(100))
    ours = Ours(argv=(*PYTEST, f"--wheel={materials.demo}", "--wheel-static"), cwd=cwd)
    return Case(
        title="`--wheel-static`, one small wheel",
        against="pytest, 100 tests, no wheel",
        goal=2.0,
        ours=ours,
        pair=alternating(ours.measure, program((*PYTEST, "tests"), cwd=cwd, env={"PYTHONPATH": str(materials.site)})),
    )


def many_tests(materials: Materials) -> Case:
    """Compare the cost of a test."""
    number = 2_000 if materials.quick else 20_000
    cwd = materials.project("many", MANY.format(number))
    ours = Ours(argv=(*PYTEST, f"--wheel={materials.demo}", PYTHON, "tests"), cwd=cwd)
    return Case(
        title=f"{number:,} trivial tests",
        against="pytest",
        goal=1.3,
        ours=ours,
        pair=alternating(ours.measure, program((*PYTEST, "tests"), cwd=cwd, env={"PYTHONPATH": str(materials.site)})),
        pairs=3,
    )


def aarch64(materials: Materials) -> Case:
    """Test one emulated target."""
    cwd = materials.project("aarch64", RPDS.format(100))
    wheel = materials.rpds_wheel("cp311-cp311-manylinux_2_17_aarch64")
    ours = Ours(argv=(*PYTEST, f"--wheel={wheel}", "tests"), cwd=cwd)
    return Case(
        title="one aarch64 wheel under QEMU, 100 tests",
        against="its pytest in a prepared environment",
        goal=1.1,
        ours=ours,
        pair=alternating(ours.measure, program(materials.bare(wheel, "3.11", cwd), cwd=cwd)),
    )


def four_targets(materials: Materials) -> Case:
    """Test several targets at once."""
    cwd = materials.project("four", RPDS.format(100))
    chosen = {"cp311-manylinux_2_17_x86": "3.11"}
    chosen |= {f"cp3{minor}-manylinux_2_17_aarch64": f"3.{minor}" for minor in (11, 13, 14)}
    wheels = {materials.rpds_wheel(f"{tags.partition('-')[0]}-{tags}"): python for tags, python in chosen.items()}
    ours = Ours(argv=(*PYTEST, *(f"--wheel={wheel}" for wheel in wheels), "tests"), cwd=cwd)
    return Case(
        title="three aarch64 interpreters and a native one, 100 tests each",
        against="their pytests in prepared environments, one after the other",
        goal=0.65,
        ours=ours,
        pair=alternating(
            ours.measure,
            program(*(materials.bare(wheel, python, cwd) for wheel, python in wheels.items()), cwd=cwd),
        ),
        pairs=3,
    )


def six_interpreters(materials: Materials) -> Case:
    """Test one wheel on several interpreters of the host."""
    cwd = materials.project("six", MANY.format(100))
    (cwd / "tox.ini").write_text(TOX, encoding="utf-8")
    versions = ("3.10", "3.11", "3.13", "3.14", "3.14t", "3.15")
    paths = [str(materials.target(materials.demo, version).runtime.python) for version in versions]
    tox = (sys.executable, "-m", "tox", "run", "-q", "-r", "-e", "chosen", "--installpkg", materials.demo)
    argv = (*PYTEST, f"--wheel={materials.demo}", f"--wheel-python={','.join(versions)}", "tests")
    ours = Ours(argv=argv, cwd=cwd)
    return Case(
        title=f"one pure wheel on six interpreters ({', '.join(versions)}), 100 tests each",
        against="tox for each, one after the other",
        goal=0.5,
        ours=ours,
        pair=alternating(ours.measure, program(*[tox] * 6, cwd=cwd, envs=[{"CHOSEN_PYTHON": path} for path in paths])),
        pairs=3,
    )


def emulated_n2(materials: Materials) -> Case:
    """Run the tests of one emulated target in two workers."""
    tests = 6 if materials.quick else 60
    cwd = materials.project("n2", _WORK.format(tests))
    alone = (*PYTEST, f"--wheel={materials.rpds_wheel('cp311-cp311-manylinux_2_17_aarch64')}", "tests")
    ours = Ours(argv=(*alone, "-n", "2"), cwd=cwd)
    return Case(
        title=f"`-n 2`, {tests} tests of about a second under QEMU",
        against="the same without `-n`",
        goal=0.6,
        ours=ours,
        pair=alternating(ours.measure, program(alone, cwd=cwd)),
        pairs=2,
        warm_up=program((*alone, "-k", "test_work[0]"), cwd=cwd),
    )


def restart(materials: Materials) -> Case:
    """Let an emulated worker crash."""
    marks, report = materials.directory / "marks.txt", materials.directory / "crashes.json"
    cwd = materials.project("crashes", _CRASHES.format(str(marks)))
    wheel = materials.rpds_wheel("cp311-cp311-manylinux_2_17_aarch64")
    ours = Ours(argv=(*PYTEST, f"--wheel={wheel}", "tests"), cwd=cwd, statuses=[1], step="boot")

    def pair(_: int) -> tuple[Usage, Usage]:
        marks.unlink(missing_ok=True)
        ours.measure((*ours.argv, f"--wheel-report={report}"))
        lines = [line.split() for line in marks.read_text(encoding="ascii").splitlines()]
        started = {int(number): float(when) for number, when in lines}
        if len(started) != 6:
            raise MeasurementError(f"6 tests were to run, not {len(started)}")
        restarts = statistics.median((started[2] - started[1], started[4] - started[3]))
        timings = json.loads(report.read_text(encoding="utf-8"))["wheels"][0]["targets"][0]["timings"]
        first = [next(step for step in timings if step["name"] == name) for name in ("boot", "collection")]
        return Usage(seconds=restarts), Usage(seconds=sum(step["end"] - step["start"] for step in first))

    return Case(
        title="a restart under QEMU: from the start of a test that crashes to that of the next one",
        against="`boot` and `collection` of the first worker in the same report",
        goal=0.35,
        ours=ours,
        pair=pair,
        pairs=3,
    )


def static_release(materials: Materials) -> Case:
    """Check a release."""
    cwd = materials.project("static-release", "")
    wheels = [path for tags, path in materials.rpds.items() if "-manylinux" in tags]
    assert len(wheels) == 15
    shows = [(sys.executable, "-m", "auditwheel", "show", wheel) for wheel in wheels]
    ours = Ours(argv=(*PYTEST, *(f"--wheel={wheel}" for wheel in wheels), "--wheel-static"), cwd=cwd)
    return Case(
        title="`--wheel-static`, 15 manylinux wheels of rpds-py",
        against="`auditwheel show` once for each wheel",
        goal=1.0,
        ours=ours,
        pair=alternating(ours.measure, program(*shows, cwd=cwd)),
        pairs=3,
    )


def pandas(materials: Materials) -> Case:
    """Test a large package that has no tests."""
    wheel = materials.pinned(PANDAS)
    cwd = materials.project("pandas-only", "")
    ours = Ours(argv=(*PYTEST, f"--wheel={wheel}"), cwd=cwd)
    own = materials.bare(wheel, "3.13", cwd)[0]
    return Case(
        title="pandas 3.1.1, imports only, 45 extension modules",
        against="one `import pandas`",
        goal=12.0,
        ours=ours,
        pair=alternating(ours.measure, program((own, "-c", "import pandas"), cwd=cwd, env=NO_BYTECODE)),
        pairs=3,
    )


def sklearn(materials: Materials) -> Case:
    """Check the imports of a large package."""
    # It cannot be imported without Cython, which the wheel does not declare.
    ignored = ("-o", "wheel_import_ignore=sklearn._build_utils.tempita")
    return _import_check(materials, materials.pinned(SKLEARN), "sklearn", "scikit-learn 1.9.1", "3.13", *ignored)


def modules(materials: Materials) -> Case:
    """Check the imports of many small modules."""
    number = 20 if materials.quick else 200
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return _import_check(materials, materials.native_package(number), "natives", "a package of small modules", python)


def _import_check(materials: Materials, wheel: Path, name: str, title: str, python: str, *options: str) -> Case:
    cwd = materials.project(f"imports-{name}", "")
    own = materials.bare(wheel, python, cwd)[0]
    number = len(open_wheel(wheel, shown=wheel.name, store=materials.directory / "store").extension_modules)
    report = materials.directory / f"{name}.json"
    one_import = program((own, "-c", f"import {name}"), cwd=cwd, env=NO_BYTECODE)

    ours = Ours(argv=(*PYTEST, f"--wheel={wheel}", *options), cwd=cwd, step="imports")

    # The processor time is that of more than the step, or of one import without the rest: neither can be compared.
    def imports() -> Usage:
        ours.measure((*ours.argv, f"--wheel-report={report}"))
        timings = json.loads(report.read_text(encoding="utf-8"))["wheels"][0]["targets"][0]["timings"]
        return Usage(seconds=sum(step["end"] - step["start"] for step in timings if step["name"] == "imports"))

    def limit() -> Usage:
        return Usage(seconds=1.5 * one_import().seconds + 0.05 * number)

    return Case(
        title=f"{title}, the import check alone, {number} extension modules",
        against=f"1.5 times `import {name}` + 0.05 s for each extension module",
        goal=1.0,
        ours=ours,
        pair=alternating(imports, limit),
        pairs=3,
    )


def windows(materials: Materials) -> Case:
    """Test a target under Wine; see wine.py."""
    cwd = materials.project("windows", wine.TESTS)
    wheel = wine.build(cwd, "win_amd64")
    bare = wine.prepare_bare(cwd, wheel, "win_amd64")

    def measure(argv: Sequence[str | Path], env: dict[str, str] | None = None) -> Usage:
        seconds, processor = wine.measure([*map(str, argv)], dict(os.environ) if env is None else env, cwd)
        return Usage(seconds=seconds, processor=processor)

    ours = Ours(argv=(*PYTEST, "--wheel-select=WHL101", f"--wheel={wheel}", "tests"), cwd=cwd, runner=measure)
    runner.prctl(runner.SUBREAPER, 1)
    return Case(
        title="one win_amd64 wheel under Wine, 100 tests",
        against="its pytest in a prepared environment and prefix",
        goal=1.25,
        ours=ours,
        pair=alternating(ours.measure, lambda: measure(*bare)),
        pairs=3,
    )


#: The cases by their names, in the order of the table.
CASES: dict[str, Callable[[Materials], Case]] = {
    "pure": pure,
    "static": static,
    "many-tests": many_tests,
    "aarch64": aarch64,
    "four-targets": four_targets,
    "six-interpreters": six_interpreters,
    "emulated-n2": emulated_n2,
    "restart": restart,
    "static-release": static_release,
    "pandas": pandas,
    "sklearn": sklearn,
    "modules": modules,
    # Last: from then on, the processes that other programs leave are children of this one.
    "windows": windows,
}

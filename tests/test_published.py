"""Published wheels of real projects, with the projects' own tests: the outcomes are those of plain pytest."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import configured_uv
import pytest
from uv import find_uv_bin

from pytest_wheelcheck.interpreters.host import HostProvider

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform == "win32", reason="compares Linux wheels with plain pytest on them"),
]

#: Not the running one only: every CPython of this machine for which the project publishes a wheel.
SUPPORTED = {(3, 11), (3, 12), (3, 13), (3, 14)}


def download(folder: Path, requirement: str, *options: str) -> None:
    # A build backend that is a program (maturin) is next to the interpreter, which is not on PATH without an activation.
    scripts = Path(sys.executable).parent
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), *options, requirement],
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        timeout=300,
    )


def interpreters() -> dict[tuple[int, int], Path]:
    found: dict[tuple[int, int], Path] = {}
    for one in HostProvider().interpreters():
        facts = one.facts
        if facts.implementation == "cpython" and not facts.free_threaded and facts.version[:2] in SUPPORTED:
            found.setdefault(facts.version[:2], facts.python)
    return found


def unpack_sdist(folder: Path) -> Path:
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def outcomes(report: Path, prefix: str = "") -> Counter[str]:
    """Count outcomes in a junit report, of the tests below *prefix*."""
    found: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        if prefix in name and "tests/" in name.replace("tests.", "tests/"):
            kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
            found[kinds.pop() if kinds else "passed"] += 1
    return found


def test_rpds_has_the_outcomes_of_plain_pytest(
    pytester: pytest.Pytester, run_wheels: Callable[..., pytest.RunResult]
) -> None:
    folder = pytester.path
    download(folder / "sdist", "rpds-py", "--no-binary", ":all:", "--no-build-isolation")
    project = unpack_sdist(folder / "sdist")
    version = project.name.rpartition("-")[2]
    plain: dict[str, Counter[str]] = {}
    for (major, minor), python in interpreters().items():
        number = f"{major}{minor}"
        download(
            folder / "dist",
            f"rpds-py=={version}",
            "--only-binary=:all:",
            f"--python-version={major}.{minor}",
            "--implementation=cp",
            f"--abi=cp{number}",
            "--platform=manylinux_2_17_x86_64",
        )
        (wheel,) = (folder / "dist").glob(f"*-cp{number}-cp{number}-*.whl")
        environment = folder / f"env{number}"
        uv = find_uv_bin()
        subprocess.run([uv, "venv", "-q", "-p", str(python), str(environment)], check=True, timeout=120)
        inside = environment / "bin" / "python"
        install = [uv, "pip", "install", "-q", "--python", str(inside), str(wheel), "pytest"]
        subprocess.run(install, check=True, timeout=300, env=configured_uv.environment())
        report = folder / f"plain{number}.xml"
        plainly = [str(inside), "-m", "pytest", "-q", "tests", f"--junit-xml={report}"]
        subprocess.run(plainly, cwd=project, check=False, timeout=120)
        plain[number] = outcomes(report)
    assert plain, "no interpreter of this machine is supported by the project"

    pytester._monkeypatch.chdir(project)
    report = folder / "wheels.xml"
    pythons = ",".join(f"{number[0]}.{number[1:]}" for number in plain)
    result = run_wheels(
        f"--wheel={folder / 'dist'}", f"--wheel-python={pythons}", "tests", f"--junit-xml={report}", timeout=300
    )
    assert result.ret == 0, result.stdout.str()
    for number, expected in plain.items():
        assert expected["passed"] > 100
        assert outcomes(report, f"::cp{number}-linux-x86_64".replace("::", ".")) == expected

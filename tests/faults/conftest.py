"""Fixtures of the fault suite."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

import provisioned
import pytest
import standin
from builders import build_wheel
from ground import Ground

from pytest_wheelcheck.interpreters.packages import apt_suites


@pytest.fixture
def ground(pytester: pytest.Pytester, witness: Path) -> Ground:
    """A project of its own with the witness."""
    return Ground(pytester.path, pytester.path / "temporary", witness)


@pytest.fixture
def demo(pytester: pytest.Pytester) -> Ground:
    """A project of its own with a wheel of pure Python, and one test."""
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": ""})
    found = Ground(pytester.path, pytester.path / "temporary", wheel)
    found.write(test_one="import demo\ndef test_one(): pass\n")
    return found


@pytest.fixture(scope="session")
def arm_python(request: pytest.FixtureRequest) -> str:
    """A version of Python that the host's archive has for aarch64."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("aarch64 is emulated on x86-64 Linux")
    archive = request.getfixturevalue("debian_archive")
    (suite,) = apt_suites.query(archive, "arm64", [archive.codename])
    for package in suite.packages:
        if package.startswith("python3.") and package.endswith("-minimal"):
            return package.removeprefix("python").removesuffix("-minimal")
    raise provisioned.missing("debian", suite.problem or "the archive of this host does not carry arm64")


@pytest.fixture
def arm(pytester: pytest.Pytester, arm_python: str) -> Ground:
    """A project of its own with the witness for aarch64, or its stand-in.

    ``WHEELCHECK_WITNESS_AARCH64`` may name the real one, which takes a cross compiler to build.
    """
    dist = pytester.path / "dist"
    if real := os.environ.get("WHEELCHECK_WITNESS_AARCH64"):
        dist.mkdir()
        wheel = Path(shutil.copy(real, dist))
    else:
        wheel = standin.build(dist, "manylinux_2_17_aarch64")
    found = Ground(pytester.path, pytester.path / "temporary", wheel)
    found.python = arm_python
    found.emulated = True
    found.kinds = (*standin.KINDS, "panic") if real else standin.KINDS
    return found


@pytest.fixture(params=["native", pytest.param("aarch64", marks=[pytest.mark.network, pytest.mark.long])])
def either(request: pytest.FixtureRequest) -> Ground:
    """The ground, once native and once emulated."""
    found: Ground = request.getfixturevalue("ground" if request.param == "native" else "arm")
    return found

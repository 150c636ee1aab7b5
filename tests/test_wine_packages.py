"""Wine from packages: it does not depend on what else the host has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import provisioned
import pytest

from pytest_wheelcheck.backends.wine import packages
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.architectures import runs_natively
from pytest_wheelcheck.interpreters.packages import apt

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux", reason="Wine runs Windows programs on Linux"),
    pytest.mark.skipif(not runs_natively("x86_64"), reason="Wine is supported on x86-64 hosts only"),
]


@pytest.fixture
def libraries() -> Path:
    """The directory of the Linux libraries of the Wine that was fetched."""
    repository = apt.host_repository()
    if repository is None:
        raise provisioned.missing("wine", "this host has no package archive of Debian or Ubuntu")
    try:
        return packages.provision(repository) / "usr/lib/x86_64-linux-gnu"
    except WheelcheckError as error:
        raise provisioned.missing("wine", str(error)) from None


@pytest.mark.parametrize("name", ["libfreetype.so.6", "libfontconfig.so.1"])
def test_the_libraries_of_fonts_and_all_that_they_need_are_not_those_of_the_host(libraries: Path, name: str) -> None:
    """Without the first, Wine writes into the output of every program; without the second only, it makes no prefix.

    A fresh Debian has none of them.
    """
    loader = libraries / "ld-linux-x86-64.so.2"
    options = ("--inhibit-cache", "--library-path", libraries, "--list")
    done = subprocess.run([loader, *options, libraries / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    paths = [Path(line.split()[2]) for line in done.stdout.splitlines() if "=>" in line]
    assert len(paths) > 2
    assert {path.parent for path in paths} == {libraries}

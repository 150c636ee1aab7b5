"""The commands of the pages that need interpreters for other processors, C libraries and releases, as they are written."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import images
import pytest
from builders import build_wheel
from typed import has_passed, make_project, typed

pytestmark = [
    pytest.mark.long,
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="emulates on x86-64 Linux"),
    pytest.mark.usefixtures("debian_archive"),
]


@pytest.mark.parametrize(
    "command",
    ["pytest --wheel dist --wheel-machine rpi4,rpi5", "pytest --wheel dist --wheel-machine rpi4,rpi5 tests"],
)
def test_machines(tmp_path: Path, command: str) -> None:
    found = typed(command, make_project(tmp_path, "cp313-cp313-manylinux_2_17_aarch64"))
    for machine in ("rpi4", "rpi5"):
        assert has_passed(found, f"cp313-linux-aarch64+{machine}")


def test_a_sysroot_of_a_board(tmp_path: Path) -> None:
    minor = images.of_debian(tmp_path / "raspios", "aarch64").version[1]
    project = make_project(tmp_path, f"cp3{minor}-cp3{minor}-manylinux_2_17_aarch64")
    found = typed("pytest --wheel dist --wheel-sysroot aarch64=raspios tests", project)
    assert f"cp3{minor}-linux-aarch64 [qemu, directory]" in found
    assert has_passed(found, f"cp3{minor}-linux-aarch64")


def test_a_sysroot_with_musl(tmp_path: Path) -> None:
    images.with_musl(tmp_path / "alpine")
    project = make_project(tmp_path, "cp312-cp312-musllinux_1_2_aarch64")
    found = typed("pytest --wheel dist --wheel-sysroot aarch64=alpine tests", project)
    assert "cp312-musllinux-aarch64 [qemu, directory]" in found
    assert has_passed(found, "cp312-musllinux-aarch64")


def test_a_sysroot_of_the_hosts_own_architecture(tmp_path: Path) -> None:
    minor = images.of_debian(tmp_path / "sid", "x86_64", host=False).version[1]
    project = make_project(tmp_path, f"cp3{minor}-cp3{minor}-manylinux_2_17_x86_64")
    found = typed("pytest --wheel dist --wheel-sysroot x86_64=sid tests", project)
    assert f"cp3{minor}-linux-x86_64 [native, directory]" in found
    assert has_passed(found, f"cp3{minor}-linux-x86_64")


def test_a_sysroots_interpreter(tmp_path: Path) -> None:
    root = tmp_path / "raspios"
    images.of_debian(root, "armv7l", 13)
    # As one that the user of the board has built.
    for name in ("bin", "lib"):
        (root / "usr/local" / name).mkdir(parents=True, exist_ok=True)
    shutil.move(root / "usr/bin/python3.13", root / "usr/local/bin/python3.13")
    shutil.move(root / "usr/lib/python3.13", root / "usr/local/lib/python3.13")
    project = make_project(tmp_path, "cp313-cp313-manylinux_2_17_armv7l")
    found = typed("pytest --wheel dist --wheel-sysroot armv7l=raspios/usr/local/bin/python3.13 tests", project)
    assert "cp313-linux-armv7l [qemu, directory]" in found
    assert has_passed(found, "cp313-linux-armv7l")


def test_programs_in_interpreters(tmp_path: Path) -> None:
    assert typed("wheelcheck exec aarch64 3.13 -- python -V", tmp_path).splitlines()[-1].startswith("Python 3.13.")
    found = typed("wheelcheck exec musllinux-aarch64 3.12 -- python -m pip --version", tmp_path)
    assert found.rstrip().endswith("(python 3.12)")


def test_an_empty_cache_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the first lines of the page, from an empty cache to an empty cache."""
    monkeypatch.setenv("WHEELCHECK_CACHE", str(tmp_path / "cache"))
    assert "wheelcheck runtime install aarch64 3.13\n" in typed(
        "wheelcheck runtime path aarch64 3.13", tmp_path, status=1
    )
    stems = ("3.13", "3.14t")
    installed = typed("wheelcheck runtime install aarch64 3.13 3.14t", tmp_path).splitlines()[-2:]
    for path, stem in zip(installed, stems, strict=True):
        said = subprocess.run([path, "-c", "import os; print(os.uname().machine)"], capture_output=True, check=True)
        assert (path.endswith(f"/bin/python{stem}"), said.stdout) == (True, b"aarch64\n")
    found = typed("wheelcheck runtime list", tmp_path)
    assert "cp313-linux-aarch64" in found
    assert "cp314t-linux-aarch64" in found
    assert typed("wheelcheck runtime path aarch64 3.13", tmp_path) == f"{installed[0]}\n"
    typed("wheelcheck runtime remove all", tmp_path)
    typed("wheelcheck runtime path aarch64 3.13", tmp_path, status=1)


def test_runs_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of that section, which fill an empty cache first. A wheel needs another one, which is in the directory."""
    monkeypatch.setenv("WHEELCHECK_CACHE", str(tmp_path / "cache"))
    typed("wheelcheck runtime install aarch64 3.9 3.13", tmp_path)
    typed("wheelcheck runtime install musllinux-x86_64 3.12", tmp_path)
    project = make_project(tmp_path / "project", "cp39-cp39-manylinux_2_17_aarch64")
    name = "wheelcheck-no-such-project"
    build_wheel(project / "wheelhouse", name, files={"other.py": ""})
    for tag in ("cp313-cp313-manylinux_2_17_aarch64", "cp312-cp312-musllinux_1_2_x86_64"):
        build_wheel(project / "dist", "pkg", files={"pkg/__init__.py": "VALUE = 1\n"}, tags=[tag], requires=[name])
    found = typed("pytest --wheel dist --wheel-offline --wheel-find-links wheelhouse", project)
    for target in ("cp39-linux-aarch64", "cp313-linux-aarch64", "cp312-musllinux-x86_64"):
        assert has_passed(found, target)

"""The tags that an interpreter accepts, compared with those that it computes itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import packaging
import pytest

from pytest_wheelcheck.interpreters import tags

SYS_TAGS = "import sys; sys.path.append(sys.argv[1]); from packaging import tags; print(*tags.sys_tags(), sep='\\n')"


def _sys_tags(python: Path) -> list[str]:
    return subprocess.run(
        [python, "-I", "-c", SYS_TAGS, Path(packaging.__file__).parent.parent],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_the_running_interpreter() -> None:
    from pytest_wheelcheck.interpreters import facts

    assert list(facts.query(Path(sys.executable)).tags) == list(dict.fromkeys(_sys_tags(Path(sys.executable))))


def _accepted(**changes: object) -> tuple[str, ...]:
    base: dict[str, object] = {
        "implementation": "cpython",
        "version": (3, 11, 2),
        "free_threaded": False,
        "system": "linux",
        "architecture": "x86_64",
        "libc": "glibc",
        "libc_version": (2, 36),
    }
    return tags.accepted(**(base | changes))  # type: ignore[arg-type]


def test_glibc() -> None:
    found = _accepted()
    assert found[1] == "cp311-cp311-manylinux_2_36_x86_64"
    assert {
        "cp311-cp311-manylinux1_x86_64",
        "cp311-cp311-manylinux2010_x86_64",
        "cp39-abi3-manylinux2014_x86_64",
        "cp311-abi3-manylinux_2_5_x86_64",
        "cp311-none-linux_x86_64",
        "py3-none-any",
        "py310-none-manylinux_2_28_x86_64",
    } <= set(found)
    assert not {"cp311-cp311-manylinux_2_37_x86_64", "cp311-cp311-manylinux_2_4_x86_64", "cp312-abi3-any"} & set(found)
    assert not [tag for tag in found if "musllinux" in tag]


def test_other_architectures_begin_with_2_17() -> None:
    found = _accepted(architecture="aarch64")
    assert "cp311-cp311-manylinux_2_17_aarch64" in found
    assert "cp311-cp311-manylinux_2_16_aarch64" not in found
    assert "cp311-cp311-manylinux2010_aarch64" not in found


def test_musl() -> None:
    found = _accepted(libc="musl", libc_version=(1, 2))
    assert found[1] == "cp311-cp311-musllinux_1_2_x86_64"
    assert "cp311-cp311-musllinux_1_0_x86_64" in found
    assert not [tag for tag in found if "manylinux" in tag]


def test_free_threaded_refuses_abi3() -> None:
    found = _accepted(version=(3, 14, 0), free_threaded=True)
    assert found[1] == "cp314-cp314t-manylinux_2_36_x86_64"
    assert not [tag for tag in found if "-abi3-" in tag]
    assert "py3-none-any" in found


def test_abi3t_if_packaging_supports_it() -> None:
    if int(packaging.__version__.split(".")[0]) < 26:
        pytest.skip("this version of packaging does not support PEP 803")
    found = _accepted(version=(3, 15, 0), free_threaded=True)
    assert "cp315-abi3t-manylinux_2_17_x86_64" in found
    assert "cp315-abi3t-manylinux_2_17_x86_64" not in _accepted(version=(3, 15, 0))


def test_pypy() -> None:
    found = _accepted(implementation="pypy")
    assert found[1] == "pp311-pypy311_pp73-manylinux_2_36_x86_64"
    assert "pp3-none-any" in found
    assert not [tag for tag in found if "abi3" in tag]


def test_windows_and_macos() -> None:
    assert _accepted(system="win32", architecture="amd64", libc="")[0] == "cp311-cp311-win_amd64"
    assert _accepted(system="win32", architecture="x86", libc="")[0] == "cp311-cp311-win32"
    mac = _accepted(system="darwin", architecture="arm64", libc="", system_version=(14, 5))
    assert mac[0] == "cp311-cp311-macosx_14_0_arm64"
    assert "cp311-cp311-macosx_10_9_universal2" in mac
    assert "cp311-cp311-macosx_15_0_arm64" not in mac


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("any", ("", "", "", (0, 0))),
        ("manylinux1_i686", ("linux", "i686", "glibc", (2, 5))),
        ("manylinux2010_x86_64", ("linux", "x86_64", "glibc", (2, 12))),
        ("manylinux_2_39_riscv64", ("linux", "riscv64", "glibc", (2, 39))),
        ("musllinux_1_2_armv7l", ("linux", "armv7l", "musl", (1, 2))),
        ("linux_armv7l", ("linux", "armv7l", "", (0, 0))),
        ("macosx_10_9_universal2", ("darwin", "universal2", "", (10, 9))),
        ("win32", ("win32", "x86", "", (0, 0))),
        ("win_arm64", ("win32", "arm64", "", (0, 0))),
        ("ios_13_0_arm64_iphoneos", ("ios", "13_0_arm64_iphoneos", "", (0, 0))),
    ],
)
def test_split_platform(tag: str, parts: tuple[object, ...]) -> None:
    assert tags.split_platform(tag) == parts

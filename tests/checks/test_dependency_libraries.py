"""Libraries that are not in the wheel, and that a dependency brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from builders import build_wheel

from checks.objects import make_elf, make_macho, make_pe
from checks.samples import LINUX, MACOS, WINDOWS
from pytest_wheelcheck.checks import CheckResult, run_checks
from pytest_wheelcheck.checks.dependency_libraries import brings
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.wheels.reader import open_wheel

INIT = ("PyInit__native",)

#: The code of the check, the tag, the name of the module, and the module.
SYSTEMS = {
    "linux": (
        "WHL301",
        LINUX,
        "_native.cpython-311-x86_64-linux-gnu.so",
        make_elf(exports=INIT, needed=("libtorch_cpu.so", "libc10.so", "libc.so.6")),
    ),
    "macos": (
        "WHL403",
        MACOS,
        "_native.cpython-311-darwin.so",
        make_macho(
            exports=INIT, needed=("@rpath/libtorch_cpu.dylib", "@rpath/libc10.dylib", "/usr/lib/libSystem.B.dylib")
        ),
    ),
    "windows": (
        "WHL503",
        WINDOWS,
        "_native.cp311-win_amd64.pyd",
        make_pe(exports=INIT, needed=("torch_cpu.dll", "c10.dll", "KERNEL32.dll", "python311.dll")),
    ),
}


def check(tmp_path: Path, system: str, requires: Sequence[str]) -> CheckResult:
    code, tag, name, data = SYSTEMS[system]
    files: dict[str, bytes | str] = {"pkg/__init__.py": "", f"pkg/{name}": data}
    path = build_wheel(tmp_path / "dist", "pkg", files=files, tags=(tag,), requires=requires, extras=["fast"])
    (result,) = run_checks(open_wheel(path, shown=path.name, store=tmp_path / "store"), select=(code,))
    return result


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_dependency_brings_them(tmp_path: Path, system: str) -> None:
    result = check(tmp_path, system, ["numpy", "torch>=2; python_version >= '3'"])
    assert result.outcome is Outcome.PASSED
    (finding,) = result.findings
    names = {
        "linux": "libc10.so, libtorch_cpu.so",
        "macos": "libc10.dylib, libtorch_cpu.dylib",
        "windows": "c10.dll, torch_cpu.dll",
    }
    assert finding.message.endswith(
        f"{names[system]} are not in the wheel; torch, which the wheel requires, may bring them"
    )


@pytest.mark.parametrize("requires", [[], ["numpy"], ["torch; extra == 'fast'"]])
@pytest.mark.parametrize("system", SYSTEMS)
def test_no_dependency_brings_them(tmp_path: Path, system: str, requires: list[str]) -> None:
    result = check(tmp_path, system, requires)
    assert result.outcome is Outcome.FAILED
    assert all(name in "".join(finding.message for finding in result.findings) for name in ("torch_cpu", "c10"))


@pytest.mark.parametrize(
    ("distribution", "library", "is_brought"),
    [
        ("torch", "libtorch.so", True),
        ("torch", "libcudart.so.13", True),
        ("torch", "libgomp.so.1", False),
        ("PyQt6_Qt6", "libQt6Core.so.6", True),
        ("PyQt6-Qt6", "@rpath/QtGui.framework/Versions/A/QtGui", True),
        ("PyQt6", "Qt6Core.dll", False),
        ("apache-tvm-ffi", "libtvm_ffi.so", True),
        ("apache-tvm-ffi", "libffi.so.8", False),
        ("tensorflow", "libtensorflow_framework.so.2", True),
        ("nvidia-cublas-cu12", "libcublasLt.so.12", True),
        ("nvidia-cublas-cu12", "libcurl.so.4", False),
        ("six", "libsix.so", False),
    ],
)
def test_names(distribution: str, library: str, is_brought: bool) -> None:
    assert brings(distribution, library) is is_brought

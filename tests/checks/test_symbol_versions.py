"""WHL301 names the highest symbol version first, and the symbols that need it."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest
from builders import build_wheel
from compiled import needs_compiler

from checks.samples import linux
from checks.test_rules import messages, needs_auditwheel

#: Functions that glibc got in a version, and calls of them.
CALLS = {
    "GLIBC_2.34": {"dlopen": 'dlopen("x", 1)', "pthread_create": "pthread_create(0, 0, 0, 0)"},
    "GLIBC_2.33": {"stat": "(stat)(0, 0)"},
    "GLIBC_2.25": {"getrandom": "getrandom(0, 0, 0)"},
}
HEADERS = ("dlfcn.h", "pthread.h", "sys/stat.h", "sys/random.h")


def library(folder: Path, name: str, calls: list[str]) -> bytes:
    """Compile a library that makes some calls."""
    folder.mkdir(exist_ok=True)
    source = folder / f"{name}.c"
    includes = "".join(f"#include <{header}>\n" for header in HEADERS)
    source.write_text(f"{includes}void run(void) {{ {'; '.join(calls)}; }}\n", "ascii")
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", folder / name, source], check=True, timeout=60)
    return (folder / name).read_bytes()


@needs_auditwheel
@needs_compiler
@pytest.mark.skipif(
    platform.libc_ver() < ("glibc", "2.34") or platform.machine() != "x86_64",
    reason="needs gcc for glibc 2.34 on x86-64",
)
def test_symbols_of_real_libraries(tmp_path: Path) -> None:
    old = library(tmp_path / "build", "old.so", list(CALLS["GLIBC_2.25"].values()))
    new = library(tmp_path / "build", "new.so", [call for calls in CALLS.values() for call in calls.values()])
    path = build_wheel(
        tmp_path / "dist",
        "pkg",
        files={"pkg/__init__.py": "", "pkg/a.so": old, "pkg/b.so": new},
        tags=["cp311-cp311-manylinux_2_17_x86_64"],
    )
    (message,) = messages(path, tmp_path, "WHL301")
    needs = re.findall(r"(pkg/\w\.so) needs (GLIBC_[\d.]+) of libc\.so\.6 \(for ([\w, ]+)\)", message)
    assert needs[0][:2] == ("pkg/b.so", "GLIBC_2.34")
    assert set(needs[0][2].split(", ")) == {"dlopen", "pthread_create"}
    assert needs[1] == ("pkg/b.so", "GLIBC_2.33", "stat")
    assert needs[2:] == [("pkg/a.so", "GLIBC_2.25", "getrandom"), ("pkg/b.so", "GLIBC_2.25", "getrandom")]


@needs_auditwheel
def test_versions_are_numbers_and_those_of_glibc_come_first(tmp_path: Path) -> None:
    path = linux(
        tmp_path / "dist",
        needed=("libc.so.6", "libpq.so.5"),
        versions=(
            ("libstdc++.so.6", "GLIBCXX_3.4.29"),
            ("libc.so.6", "GLIBC_2.29"),
            ("libc.so.6", "GLIBC_2.34"),
            ("libm.so.6", "GLIBC_2.100"),
        ),
    )
    (message,) = messages(path, tmp_path, "WHL301")
    found = re.findall(r"needs (\S+)", message)
    assert found == ["GLIBC_2.100", "GLIBC_2.34", "GLIBC_2.29", "GLIBCXX_3.4.29", "libpq.so.5,"]

"""The facts agree with Python's information about the same machine."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import wheelcheck_witness
from wheelcheck_witness import __main__, _native

#: The names of `uname` for architectures with another name in Rust.
MACHINES = {
    "x86_64": {"x86_64", "amd64"},
    "x86": {"i386", "i586", "i686", "x86", "x86_64", "amd64"},
    "aarch64": {"aarch64", "arm64"},
    "arm": {"armv6l", "armv7l", "armv8l", "aarch64"},
    "powerpc64": {"ppc64", "ppc64le"},
}


def test_architecture_is_the_machines(facts):
    expected = MACHINES.get(facts["architecture"], {facts["architecture"]})
    assert facts["machine"].lower() in expected


def test_machine_is_pythons(facts):
    assert facts["machine"] == platform.machine()


def test_pointer_width_is_pythons(facts):
    assert facts["pointer_width"] == 8 * struct.calcsize("P")


def test_endianness_is_pythons(facts):
    assert facts["endianness"] == sys.byteorder


def test_pid_is_this_process(facts):
    assert facts["pid"] == os.getpid()


def test_page_size_is_a_power_of_two(facts):
    assert facts["page_size"] >= 4096
    assert facts["page_size"] & (facts["page_size"] - 1) == 0


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows has no sysconf")
def test_page_size_is_the_systems(facts):
    assert facts["page_size"] == os.sysconf("SC_PAGE_SIZE")


def test_libc_fits_the_system(facts):
    expected = {"linux": {"glibc", "musl"}, "win32": {"msvcrt", "ucrt"}}.get(sys.platform, {""})
    assert facts["libc"] in expected


def test_libc_version_is_pythons(facts):
    if facts["libc"] != "glibc":
        pytest.skip("only glibc provides its version")
    assert f"glibc {facts['libc_version']}" == os.confstr("CS_GNU_LIBC_VERSION")


@pytest.mark.parametrize(
    ("architecture", "feature"), [("x86_64", "sse2"), ("aarch64", "neon")], ids=["x86_64", "aarch64"]
)
def test_baseline_feature_is_present(facts, architecture, feature):
    if facts["architecture"] != architecture:
        pytest.skip(f"not {architecture}")
    assert feature in facts["cpu_features"]


def test_cpu_features_are_named_once(facts):
    assert len(facts["cpu_features"]) == len(set(facts["cpu_features"]))


def test_pyo3_is_a_version(facts):
    assert [part.isdigit() for part in facts["pyo3"].split(".")] == [True, True, True]


def test_version_is_the_distributions():
    assert wheelcheck_witness.__version__ == importlib.metadata.version("wheelcheck-witness")


def test_stub_names_every_export():
    stub = Path(_native.__file__).with_name("_native.pyi").read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(stub)))
    named = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    named |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and node.col_offset == 0}
    assert set(_native.__all__) <= named


def test_package_exports_the_names_of_the_module():
    assert sorted(wheelcheck_witness.__all__) == sorted(_native.__all__)


def test_command_prints_the_facts(capsys, facts):
    assert __main__.main([]) == 0
    assert json.loads(capsys.readouterr().out) == facts


def test_console_script_is_installed(facts):
    name = "wheelcheck-witness.exe" if sys.platform == "win32" else "wheelcheck-witness"
    script = Path(sys.prefix, "Scripts" if sys.platform == "win32" else "bin", name)
    printed = json.loads(subprocess.run([str(script)], check=True, stdout=subprocess.PIPE, timeout=120).stdout)
    assert printed.pop("pid") > 0
    assert printed == {key: value for key, value in facts.items() if key != "pid"}


def test_command_prints_its_version(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        __main__.main(["--version"])
    assert capsys.readouterr().out == f"wheelcheck-witness {wheelcheck_witness.__version__}\n"

"""Rules of checks that need more than one defective and one sound wheel."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn
from zipfile import ZipFile

import pytest
from builders import build_wheel
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.tags import Tag

from checks.objects import DYLD_INFO, EXPORTS_TRIE, make_elf, make_fat, make_macho, make_pe, make_trie
from checks.samples import DEFECTIVE, INIT, LINUX, LINUX_SUFFIX, MACOS, MUSL, linux, macos, musl, native, pure, windows
from pytest_wheelcheck.checks import CheckResult, run_checks, select_checks
from pytest_wheelcheck.checks.check import Advice, Check
from pytest_wheelcheck.checks.contents import Contents, systems
from pytest_wheelcheck.checks.extensions import suffixes
from pytest_wheelcheck.checks.linux import unmet_requirements
from pytest_wheelcheck.checks.metadata import same_version, versions_of_tag
from pytest_wheelcheck.checks.parser_client import ImpossibleHereError
from pytest_wheelcheck.checks.policies import Policy, PolicyAnalysis, libc_and_architecture
from pytest_wheelcheck.errors import ProcessError, UsageError, WheelError
from pytest_wheelcheck.model import Outcome, Severity, Wheel
from pytest_wheelcheck.targets.planning.release import check_file, open_release
from pytest_wheelcheck.wheels.binary import Binary, format_of
from pytest_wheelcheck.wheels.binary_reader import read_binary
from pytest_wheelcheck.wheels.elf import needed
from pytest_wheelcheck.wheels.macho import exports_of_macho, names_of_trie
from pytest_wheelcheck.wheels.reader import open_wheel
from pytest_wheelcheck.wheels.record_file import parse_record

needs_auditwheel = pytest.mark.skipif(sys.platform == "win32", reason="auditwheel cannot be installed on Windows")


def opened(path: Path, tmp_path: Path) -> Wheel:
    return open_wheel(path, shown=path.name, store=tmp_path / "store")


def run(path: Path, tmp_path: Path, *codes: str) -> list[CheckResult]:
    return run_checks(opened(path, tmp_path), select=codes)


def messages(path: Path, tmp_path: Path, code: str) -> list[str]:
    (result,) = run(path, tmp_path, code)
    assert not result.error, result.error
    return [finding.message for finding in result.findings]


# Selecting checks, and checks that raise --------------------------------------------------------------------------------------


def test_checks_are_selected_by_code_and_family() -> None:
    assert {check.code[:4] for check in select_checks(select=["WHL2"])} == {"WHL2"}
    assert [check.code for check in select_checks(select=["WHL2"], ignore=["WHL"])][:1] == ["WHL201"]
    assert [check.code for check in select_checks(select=["WHL301"], ignore=["WHL3"])] == ["WHL301"]
    assert "WHL301" not in {check.code for check in select_checks(ignore=["WHL3"])}
    assert len(select_checks()) == len(select_checks(select=["WHL"]))
    assert select_checks(select=["WHL2"], ignore=["WHL2"]) == ()


@pytest.mark.parametrize("prefix", ["", "X", "WHL99", "whl1", "WHL3010"])
def test_codes_that_match_no_check_are_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="no check has a code"):
        select_checks(select=[prefix])
    with pytest.raises(UsageError):
        select_checks(ignore=[prefix])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ZeroDivisionError("oh"), "could not be checked: unexpected ZeroDivisionError: oh"),
        (WheelError("sorry", fix="this"), "Fix: this"),
    ],
)
def test_a_check_that_raises_is_an_error_and_keeps_its_findings(tmp_path: Path, error: Exception, text: str) -> None:
    def function(contents: Contents) -> Iterator[str]:
        yield "first"
        raise error

    row = Check(
        code="WHL000",
        slug="x",
        title="",
        problem="",
        reason="",
        fix="",
        source="",
        function=function,
        stops_install=True,
    )
    result = row.run(Contents(tmp_path))
    assert result.outcome is Outcome.ERROR
    assert result.stops_install
    assert text in result.error
    assert [finding.message for finding in result.findings] == ["first"]


def test_an_impossible_check_is_skipped(tmp_path: Path) -> None:
    def function(contents: Contents) -> Iterator[str]:
        yield from ()
        raise ImpossibleHereError("not on this system")

    row = Check(code="WHL000", slug="x", title="", problem="", reason="", fix="", source="", function=function)
    result = row.run(Contents(tmp_path))
    assert (result.outcome, result.skip_reason, result.error) == (Outcome.SKIPPED, "not on this system", "")


def test_a_check_of_errors_can_also_advise(tmp_path: Path) -> None:
    def result(*found: str | Advice) -> CheckResult:
        row = Check(
            code="WHL000", slug="x", title="", problem="", reason="", fix="", source="", function=lambda _: iter(found)
        )  # fmt: skip
        return row.run(Contents(tmp_path))

    advised = result(Advice("may work"))
    assert (advised.outcome, [one.severity for one in advised.findings]) == (Outcome.PASSED, [Severity.WARNING])
    both = result(Advice("may work"), "cannot work")
    assert (both.outcome, [one.message for one in both.findings]) == (Outcome.FAILED, ["cannot work", "may work"])


def test_many_findings_give_few_messages(tmp_path: Path) -> None:
    row = Check(
        code="WHL000", slug="x", title="", problem="", reason="", fix="", source="",
        function=lambda _: iter([*map(str, range(60)), "0"]),
    )  # fmt: skip
    found = row.run(Contents(tmp_path)).findings
    assert len(found) == 51
    assert found[-1].message == "and 10 more like these"


def test_an_archive_that_readers_understand_differently_is_not_installed(tmp_path: Path) -> None:
    path = DEFECTIVE["WHL111"].make(tmp_path / "streamed")
    assert isinstance(path, Path)
    for wheel, stopped_by in ((path, ("WHL111-descriptors",)), (pure(tmp_path / "sound"), ())):
        release = open_release((str(wheel),), cwd=tmp_path, root=tmp_path, store=tmp_path / "store")
        (file,) = release.files
        assert check_file(file, release, select=("WHL1",), ignore=()).stopped_by == stopped_by


# Native files ---------------------------------------------------------------------------------------------------------


def absurd_header(offset: int, value: bytes) -> bytes:
    data = bytearray(make_elf(exports=INIT))
    data[offset : offset + len(value)] = value
    return bytes(data)


MALFORMED = {
    "header only": b"\x7fELF" + b"\2\1\1" + b"\0" * 60,
    "truncated": make_elf(exports=INIT)[:300],
    "sections far away": absurd_header(0x28, b"\xff" * 8),
    "many segments": absurd_header(0x38, b"\xff\xff"),
    "many sections": absurd_header(0x3C, b"\xff\xff"),
    "wrong class": absurd_header(4, b"\7"),
}
MALFORMED_MACHO = {
    "header only": b"\xcf\xfa\xed\xfe" + b"\0" * 12,
    "many commands": make_macho()[:16] + b"\xff\xff\xff\x7f" + make_macho()[20:],
    "truncated": make_macho(exports=INIT)[:80],
    "fat, many slices": b"\xca\xfe\xba\xbe\0\0\0\x13" + b"\xff" * 60,
    "fat, slices outside": make_fat({"arm64": make_macho()})[:100],
}
MALFORMED_PE = {
    "header only": b"MZ" + b"\0" * 62,
    "truncated": make_pe(exports=INIT)[:300],
    "header far away": b"MZ" + b"\0" * 58 + b"\xff\xff\xff\x7f" + b"\0" * 64,
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_elf_never_passes(tmp_path: Path, kind: str) -> None:
    path = native(tmp_path / "dist", MALFORMED[kind], LINUX_SUFFIX, "cp311-cp311-manylinux_2_17_x86_64")
    results = run(path, tmp_path, "WHL301", "WHL601", "WHL604")
    assert {result.outcome for result in results} & {Outcome.FAILED, Outcome.ERROR}, results
    if results[1].findings:
        assert results[0].outcome is Outcome.ERROR
        assert "auditwheel was not run" in results[0].error


@pytest.mark.parametrize("kind", MALFORMED_MACHO)
def test_malformed_macho_never_passes(tmp_path: Path, kind: str) -> None:
    path = native(tmp_path / "dist", MALFORMED_MACHO[kind], ".cpython-311-darwin.so", "cp311-cp311-macosx_11_0_arm64")
    results = run(path, tmp_path, "WHL601", "WHL602", "WHL604")
    assert {result.outcome for result in results} & {Outcome.FAILED, Outcome.ERROR}, results


@pytest.mark.parametrize("kind", MALFORMED_PE)
def test_malformed_pe_never_passes(tmp_path: Path, kind: str) -> None:
    path = native(tmp_path / "dist", MALFORMED_PE[kind], ".cp311-win_amd64.pyd", "cp311-cp311-win_amd64")
    results = run(path, tmp_path, "WHL601", "WHL604")
    assert {result.outcome for result in results} & {Outcome.FAILED, Outcome.ERROR}, results


SEEDS = (
    make_elf(exports=INIT, imports=("PyLong_FromLong",), soname="x", runpath="y"),
    make_elf(machine="s390x", exports=INIT),
    make_elf(machine="i686"),
    make_macho(exports=INIT, rpaths=("x",), name="y"),
    make_fat({"x86_64": make_macho(machine="x86_64"), "arm64": make_macho()}),
    make_pe(exports=INIT),
    make_pe(machine="x86"),
)


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=8)), max_size=6))
@settings(deadline=timedelta(seconds=5))
def test_damage_anywhere_gives_an_exception_or_a_value_quickly(data: bytes, damage: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(data)
    for place, patch in damage:
        damaged[place : place + len(patch)] = patch
    with contextlib.suppress(Exception):
        assert all(isinstance(found, Binary) for found in read_binary("x", bytes(damaged)))


def test_a_file_that_only_starts_like_a_native_one_is_ignored(tmp_path: Path) -> None:
    path = linux(tmp_path / "dist", {"pkg/data.bin": b"\x7fELF" + b"\1" * 100, "pkg/word.dat": b"MZ" + b"\0" * 99})
    assert messages(path, tmp_path, "WHL601") == []


@pytest.mark.parametrize(
    ("head", "kind"),
    [("7f454c46", "ELF"), ("4d5a", "PE"), ("cffaedfe", "Mach-O"), ("cafebabe00000002", "Mach-O"),
     ("cafebabe00000037", ""), ("", ""), ("504b0304", "")],
)  # fmt: skip
def test_formats_by_their_first_bytes(head: str, kind: str) -> None:
    assert format_of(bytes.fromhex(head)) == kind


@pytest.mark.parametrize("machine", ["x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64"])
def test_elf_of_every_machine(machine: str) -> None:
    data = make_elf(
        machine=machine,
        exports=("PyInit_a",),
        imports=("PyInit_b", "malloc"),
        needed=("libm.so.6", "libc.so.6"),
        soname="libx.so.1",
        runpath="$ORIGIN:/opt",
    )
    (found,) = read_binary("x.so", data)
    assert sum(size for _, size in found.sections) == len(data)
    assert replace(found, sections=()) == Binary(
        path="x.so",
        format="ELF",
        machine=machine,
        kind="library",
        needed=("libm.so.6", "libc.so.6"),
        name="libx.so.1",
        search_paths=("$ORIGIN", "/opt"),
        versions=(("libc.so.6", "GLIBC_2.2.5"),),
        init_functions=("PyInit_a",),
        python_symbols=("PyInit_b",),
        undefined=("malloc",),
        alignment=0x10000,
    )


def test_the_stack_of_a_file_without_a_header_for_it() -> None:
    """glibc treats it as a request on x86, but not on aarch64."""
    assert [read_binary("x", make_elf(machine=m, stack=None))[0].executable_stack for m in ("x86_64", "aarch64")] == [
        True,
        False,
    ]


def test_needed_of_a_file_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(make_elf(needed=("libz.so.1", "libc.so.6")))
    assert needed(path) == ("libz.so.1", "libc.so.6")


def test_both_slices_and_both_load_commands_for_the_minimum_macos() -> None:
    slices = {
        "x86_64": make_macho(machine="x86_64", minimum=(10, 9), old_style=True, weak=("/usr/lib/w.dylib",)),
        "arm64": make_macho(minimum=(12, 3), exports=INIT, rpaths=("@loader_path/x",), name="@rpath/me", kind=6),
    }
    old, new = read_binary("x.so", make_fat(slices))
    assert (old.machine, old.minimum_os, old.weak) == ("x86_64", "10.9", ("/usr/lib/w.dylib",))
    assert (new.machine, new.minimum_os, new.search_paths, new.name) == (
        "arm64",
        "12.3",
        ("@loader_path/x",),
        "@rpath/me",
    )
    assert (new.init_functions, new.kind, new.signed) == (INIT, "library", True)


HEADER = {"include/a.h": "int f(void);"}


@pytest.mark.parametrize(
    ("files", "requires", "expected"),
    [
        # A module that falls back to Python.
        ({"pkg/__init__.py": ""}, (), (Outcome.FAILED, 1)),
        ({"pkg/__init__.py": "x = 1\n", **HEADER}, ("other",), (Outcome.FAILED, 1)),
        # Stubs of an extension that was lost.
        ({"pkg/_native.pyi": ""}, (), (Outcome.FAILED, 1)),
        # Nothing at all.
        ({}, (), (Outcome.FAILED, 1)),
        # nvidia-nvtx-cu12 12.6.77 and 12.9.79 for Windows, tensorflow 2.18.0 for Windows.
        ({"pkg/__init__.py": "", "pkg/include/__init__.py": "", **HEADER}, (), (Outcome.PASSED, 1)),
        (HEADER, (), (Outcome.PASSED, 1)),
        ({}, ("other; platform_system == 'Windows'",), (Outcome.PASSED, 1)),
        # Static libraries are for one platform.
        ({"pkg/__init__.py": "", "pkg/lib/x64/a.lib": b"!<arch>\n"}, (), (Outcome.PASSED, 0)),
        ({"pkg/lib/liba.a": b"!<arch>\n"}, (), (Outcome.PASSED, 0)),
    ],
)
def test_a_wheel_for_one_platform_without_native_files(
    tmp_path: Path, files: dict[str, bytes | str], requires: tuple[str, ...], expected: tuple[Outcome, int]
) -> None:
    path = build_wheel(tmp_path, "pkg", files=files, requires=requires, tags=("py3-none-win_amd64",))
    (result,) = run(path, tmp_path, "WHL602")
    assert (result.outcome, len(result.findings)) == expected


@pytest.mark.parametrize("machine", ["amd64", "x86", "arm64"])
def test_pe_of_every_machine(machine: str) -> None:
    (found,) = read_binary("x.pyd", make_pe(machine=machine, exports=("PyInit_a", "other"), needed=("KERNEL32.dll",)))
    assert (found.machine, found.kind, found.needed, found.init_functions) == (
        machine, "library", ("KERNEL32.dll",), ("PyInit_a",),
    )  # fmt: skip


# Linux ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "parts"),
    [
        ("manylinux1_x86_64", ("glibc", "x86_64")),
        ("manylinux2014_aarch64", ("glibc", "aarch64")),
        ("manylinux_2_17_x86_64", ("glibc", "x86_64")),
        ("musllinux_1_2_armv7l", ("musl", "armv7l")),
        ("linux_x86_64", None),
        ("macosx_11_0_arm64", None),
        ("any", None),
    ],
)
def test_the_parts_of_linux_tags(platform: str, parts: tuple[str, str] | None) -> None:
    assert libc_and_architecture(platform) == parts


def analysis(overall: str, *, libraries: tuple[tuple[str, str], ...] = ()) -> PolicyAnalysis:
    def policy(name: str, priority: int, *versions: str) -> Policy:
        return Policy(
            name=name, aliases=(), priority=priority, versions={"GLIBC": versions}, libraries=libraries, symbols=()
        )

    policies = (
        policy("linux_x86_64", 0),
        policy("manylinux_2_31_x86_64", 61, "GLIBC_2.28", "GLIBC_2.29", "GLIBC_2.31"),
        policy("manylinux_2_28_x86_64", 64, "GLIBC_2.28"),
    )
    return PolicyAnalysis(
        libc="glibc",
        architecture="x86_64",
        best=overall,
        best_for_instructions="manylinux_2_28_x86_64",
        policies=policies,
    )


@pytest.mark.parametrize(
    ("overall", "version", "platform", "is_met"),
    [
        ("manylinux_2_28_x86_64", "GLIBC_2.28", "manylinux_2_28_x86_64", True),
        ("manylinux_2_31_x86_64", "GLIBC_2.29", "manylinux_2_28_x86_64", False),
        # auditwheel has no 2.29: files that need 2.29 meet only 2.31, but a tag for 2.29 is valid for them as well.
        ("manylinux_2_31_x86_64", "GLIBC_2.29", "manylinux_2_29_x86_64", True),
        ("manylinux_2_31_x86_64", "GLIBC_2.31", "manylinux_2_29_x86_64", False),
        ("manylinux_2_31_x86_64", "GLIBC_2.31", "manylinux_2_31_x86_64", True),
        ("manylinux_2_28_x86_64", "GLIBC_2.28", "manylinux_2_4_x86_64", False),
        ("linux_x86_64", "GLIBC_PRIVATE", "manylinux_2_28_x86_64", False),
        ("linux_x86_64", "GLIBC_PRIVATE", "manylinux_2_29_x86_64", False),
    ],
)
def test_the_policies_of_tag_and_files(overall: str, version: str, platform: str, is_met: bool) -> None:
    file = Binary(path="x.so", format="ELF", machine="x86_64", versions=(("libc.so.6", version),))
    assert (not unmet_requirements(analysis(overall), platform, [file], {"x.so": "x.so"})) == is_met


@needs_auditwheel
def test_forbidden_versions_and_libraries_are_named_with_their_files(tmp_path: Path) -> None:
    path = linux(
        tmp_path / "dist",
        needed=("libc.so.6", "libpq.so.5"),
        versions=(("libc.so.6", "GLIBC_2.17"), ("libc.so.6", "GLIBC_2.34"), ("libstdc++.so.6", "GLIBCXX_3.4.29")),
    )
    (message,) = messages(path, tmp_path, "WHL301")
    file = f"pkg/_native{LINUX_SUFFIX}"
    assert message.startswith("the files meet only linux_x86_64, not manylinux_2_17_x86_64: ")
    assert f"{file} needs GLIBC_2.34 of libc.so.6" in message
    assert f"{file} needs GLIBCXX_3.4.29 of libstdc++.so.6" in message
    assert f"{file} needs libpq.so.5, which is neither allowed nor bundled" in message
    assert "GLIBC_2.17 of" not in message


@needs_auditwheel
def test_a_file_without_section_headers_is_fully_checked(tmp_path: Path) -> None:
    module = bytearray(make_elf(exports=INIT, versions=(("libc.so.6", "GLIBC_2.34"),)))
    module[0x28:0x30], module[0x3C:0x40] = bytes(8), bytes(4)
    path = native(tmp_path / "dist", bytes(module), LINUX_SUFFIX, "cp311-cp311-manylinux_2_17_x86_64")
    (message,) = messages(path, tmp_path, "WHL301")
    assert "needs GLIBC_2.34 of libc.so.6" in message


@needs_auditwheel
def test_each_of_several_tags_is_checked(tmp_path: Path) -> None:
    tags = ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64")
    module = make_elf(exports=INIT, versions=(("libc.so.6", "GLIBC_2.27"),))
    path = native(tmp_path / "dist", module, LINUX_SUFFIX, "", tags=tags)
    (message,) = messages(path, tmp_path, "WHL301")
    assert "manylinux_2_17_x86_64" in message


def test_both_names_of_musl_are_valid(tmp_path: Path) -> None:
    for number, library in enumerate(("libc.so", "libc.musl-x86_64.so.1")):
        path = musl(tmp_path / str(number), needed=(library,))
        assert messages(path, tmp_path, "WHL301") == messages(path, tmp_path, "WHL304") == []


def test_glibc_in_a_musllinux_wheel(tmp_path: Path) -> None:
    path = musl(tmp_path / "dist", needed=("libc.so.6",), versions=(("libc.so.6", "GLIBC_2.17"),))
    (message,) = messages(path, tmp_path, "WHL304")
    assert "libc.so.6 of glibc" in message


LIBS = "$ORIGIN/../pkg.libs"


@needs_auditwheel
@pytest.mark.parametrize(
    ("module", "first", "tag", "is_found"),
    [
        ({"rpath": LIBS}, {}, LINUX, True),
        ({"rpath": LIBS}, {"rpath": "$ORIGIN/elsewhere"}, LINUX, True),
        ({"runpath": LIBS}, {"runpath": "$ORIGIN"}, LINUX, True),
        # The module has loaded it by then.
        ({"runpath": LIBS, "needed": ("libfirst.so", "libsecond.so")}, {}, LINUX, True),
        # musl treats both tags like DT_RPATH.
        ({"runpath": LIBS}, {}, MUSL, True),
        # DT_RUNPATH is for the needs of its own file, and makes the loader ignore DT_RPATH, its own and that of others.
        ({"runpath": LIBS}, {}, LINUX, False),
        ({"rpath": LIBS, "runpath": LIBS}, {}, LINUX, False),
        ({"rpath": LIBS}, {"runpath": "$ORIGIN/elsewhere"}, LINUX, False),
        ({"rpath": "$ORIGIN/../elsewhere"}, {}, LINUX, False),
        ({"rpath": "/opt/lib"}, {}, LINUX, False),
    ],
)
def test_a_bundled_library_that_the_loader_finds_is_not_named(
    tmp_path: Path, module: dict[str, Any], first: dict[str, Any], tag: str, is_found: bool
) -> None:
    """The module needs a bundled library, which needs another one; and one that is lost, so that the check fails."""
    is_musl = "musl" in tag
    libc = "libc.so" if is_musl else "libc.so.6"
    common: dict[str, Any] = {"needed": (libc,), "versions": () if is_musl else (("libc.so.6", "GLIBC_2.2.5"),)}
    files: dict[str, bytes | str] = {
        "pkg.libs/libfirst.so": make_elf(
            **common | {"needed": ("libsecond.so", libc), "soname": "libfirst.so"} | first
        ),
        "pkg.libs/libsecond.so": make_elf(**common, soname="libsecond.so"),
    }
    needed = (*module.get("needed", ("libfirst.so",)), "liblost.so", libc)
    data = make_elf(**common | module | {"needed": needed, "exports": INIT})
    suffix = ".cpython-311-x86_64-linux-musl.so" if is_musl else LINUX_SUFFIX
    (message,) = messages(native(tmp_path / "dist", data, suffix, tag, files), tmp_path, "WHL301")
    assert f"pkg/_native{suffix} needs liblost.so, which is neither allowed nor bundled" in message
    assert ("libfirst.so needs libsecond.so" not in message) == is_found


@needs_auditwheel
def test_a_library_that_only_some_modules_find_is_named(tmp_path: Path) -> None:
    module: dict[str, Any] = {"exports": INIT, "needed": ("libfirst.so", "liblost.so", "libc.so.6")}
    files: dict[str, bytes | str] = {
        "pkg.libs/libfirst.so": make_elf(needed=("libsecond.so", "libc.so.6"), soname="libfirst.so"),
        "pkg.libs/libsecond.so": make_elf(soname="libsecond.so"),
        f"pkg/_other{LINUX_SUFFIX}": make_elf(exports=("PyInit__other",), needed=("libfirst.so",), runpath=LIBS),
    }
    path = native(tmp_path / "dist", make_elf(**module, rpath=LIBS), LINUX_SUFFIX, LINUX, files)
    (message,) = messages(path, tmp_path, "WHL301")
    assert "pkg.libs/libfirst.so needs libsecond.so, which is neither allowed nor bundled" in message


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("$ORIGIN", ""), ("${ORIGIN}/../pkg.libs", ""), ("/opt/lib", "WHL306"), ("/tmpfs/lib", "WHL306"),
        ("lib", "WHL307"), ("./lib", "WHL307"), ("$ORIGIN::/opt", "WHL307"), ("$ORIGIN:", "WHL307"),
        ("$ORIGINAL", "WHL307"), ("$LIB", "WHL307"), ("/tmp", "WHL307"), ("//tmp/build/lib", "WHL307"),
        ("/usr/../var/tmp/x", "WHL307"), ("/dev/shm/x", "WHL307"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_search_paths_that_are_not_in_the_wheel(tmp_path: Path, tag: str, path: str, code: str) -> None:
    module = make_elf(exports=INIT, runpath=path) if tag == "runpath" else make_elf(exports=INIT, rpath=path)
    results = run(native(tmp_path / "dist", module, LINUX_SUFFIX, LINUX), tmp_path, "WHL306", "WHL307")
    found = {result.check.code for result in results if result.findings}
    assert found - ({"WHL306"} if path.endswith(":/opt") else set()) == ({code} if code else set())


# macOS ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minimum", "tag", "is_valid"),
    [
        ((11, 0), "macosx_11_0_arm64", True),
        ((11, 0), "macosx_10_9_universal2", True),
        ((11, 3), "macosx_11_0_arm64", True),
        ((12, 0), "macosx_11_0_arm64", False),
        ((12, 0), "macosx_12_0_arm64", True),
        ((12, 0), "macosx_10_9_universal2", False),
    ],
)
def test_the_minimum_macos_of_arm64(tmp_path: Path, minimum: tuple[int, int], tag: str, is_valid: bool) -> None:
    path = macos(tmp_path / "dist", tag=f"cp311-cp311-{tag}", minimum=minimum)
    assert (messages(path, tmp_path, "WHL401") == []) == is_valid


@pytest.mark.parametrize(
    ("library", "rpaths", "is_valid"),
    [
        ("/usr/lib/libz.1.dylib", (), True),
        ("/System/Library/Frameworks/Security.framework/Security", (), True),
        ("@loader_path/.dylibs/libfoo.dylib", (), True),
        ("@loader_path/../pkg/.dylibs/libfoo.dylib", (), True),
        ("@loader_path/libbar.dylib", (), False),
        ("@rpath/libfoo.dylib", ("@loader_path/.dylibs",), True),
        ("@rpath/libbar.dylib", ("@loader_path/.dylibs",), False),
        ("@rpath/libswiftCore.dylib", ("/usr/lib/swift",), True),
        ("@executable_path/../lib/libx.dylib", (), False),
        ("/Library/Frameworks/Python.framework/Versions/3.11/Python", (), False),
        ("libx.dylib", (), False),
    ],
)
def test_where_libraries_are_found(tmp_path: Path, library: str, rpaths: tuple[str, ...], is_valid: bool) -> None:
    files = {"pkg/.dylibs/libfoo.dylib": make_macho(kind=6)}
    path = macos(tmp_path / "dist", files, needed=(library,), rpaths=rpaths)
    assert (messages(path, tmp_path, "WHL403") == []) == is_valid


@pytest.mark.parametrize("prefix", ["", "pkg-1.0.data/platlib/"])
@pytest.mark.parametrize(
    ("library", "rpaths", "is_found"),
    [
        ("@loader_path/pkg.dylibs/libfoo.dylib", (), True),
        ("@loader_path/./pkg.dylibs/libfoo.dylib", (), True),
        ("@rpath/libfoo.dylib", ("@loader_path/pkg.dylibs",), True),
        ("@loader_path/pkg.dylibs/libbar.dylib", (), False),
        ("@loader_path/../pkg.dylibs/libfoo.dylib", (), False),
    ],
)
def test_libraries_of_a_module_at_the_top_level(
    tmp_path: Path, prefix: str, library: str, rpaths: tuple[str, ...], is_found: bool
) -> None:
    module = make_macho(exports=INIT, needed=(library,), rpaths=rpaths)
    files: dict[str, bytes | str] = {
        f"{prefix}_native.cpython-311-darwin.so": module,
        f"{prefix}pkg.dylibs/libfoo.dylib": make_macho(kind=6),
    }
    path = build_wheel(tmp_path / "dist", "pkg", files=files, tags=("cp311-cp311-macosx_11_0_arm64",))
    assert (messages(path, tmp_path, "WHL403") == []) == is_found


def test_a_weak_library_may_be_missing(tmp_path: Path) -> None:
    assert messages(macos(tmp_path / "dist", weak=("/opt/x.dylib",)), tmp_path, "WHL403") == []


# Windows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "suffix", "dll", "is_valid"),
    [
        ("cp311-cp311-win_amd64", ".cp311-win_amd64.pyd", "python311.dll", True),
        ("cp311-cp311-win_amd64", ".cp311-win_amd64.pyd", "python3.dll", True),
        ("cp311-cp311-win_amd64", ".cp311-win_amd64.pyd", "python311_d.dll", False),
        ("cp38-abi3-win_amd64", ".pyd", "python3.dll", True),
        ("cp38-abi3-win_amd64", ".pyd", "python38.dll", False),
        ("cp314-cp314t-win_amd64", ".cp314t-win_amd64.pyd", "python314t.dll", True),
        ("cp314-cp314t-win_amd64", ".cp314t-win_amd64.pyd", "python314.dll", False),
        ("pp311-pypy311_pp73-win_amd64", ".pypy311-pp73-win_amd64.pyd", "libpypy3.11-c.dll", True),
        # maturin wrote such tags until 2024.
        ("cp311-none-win_amd64", ".cp311-win_amd64.pyd", "python311.dll", True),
        ("cp311-none-win_amd64", ".cp311-win_amd64.pyd", "python3.dll", True),
        ("cp311-none-win_amd64", ".cp311-win_amd64.pyd", "python312.dll", False),
        ("py3-none-win_amd64", ".pyd", "python311.dll", False),
        ("cp3-none-win_amd64", ".pyd", "python311.dll", False),
    ],
)
def test_the_interpreter_that_a_module_is_linked_against(
    tmp_path: Path, tag: str, suffix: str, dll: str, is_valid: bool
) -> None:
    path = windows(tmp_path / "dist", tag=tag, suffix=suffix, needed=(dll,))
    assert (messages(path, tmp_path, "WHL502") == []) == is_valid
    assert messages(path, tmp_path, "WHL503") == []


def test_needed_libraries_are_checked_and_other_programs_are_not(tmp_path: Path) -> None:
    files = {
        "pkg.libs/a.dll": make_pe(needed=("b.dll",)),
        "pkg.libs/b.dll": make_pe(needed=("missing.dll",), machine="x86"),
        "pkg/launcher-arm64.exe": make_pe(machine="arm64", needed=("elsewhere.dll",), library=False),
    }
    path = windows(tmp_path / "dist", files, needed=("A.dll", "python311.dll"))
    assert messages(path, tmp_path, "WHL503") == [
        "pkg.libs/b.dll needs missing.dll, which is not part of Windows, of Python, or of the wheel"
    ]
    (message,) = messages(path, tmp_path, "WHL501")
    assert message.startswith("pkg.libs/b.dll is for x86")


def test_programs_do_not_find_the_libraries_of_python(tmp_path: Path) -> None:
    """Windows searches the directory of the program, which is that of the scripts."""
    program = make_pe(needed=("KERNEL32.dll", "VCRUNTIME140.dll"), library=False)
    scripts = "pkg-1.0.data/scripts/"
    path = windows(tmp_path / "lacks", {f"{scripts}tool.exe": program}, needed=("python311.dll", "VCRUNTIME140.dll"))
    (message,) = messages(path, tmp_path / "lacks", "WHL503")
    assert message.startswith(f"{scripts}tool.exe needs VCRUNTIME140.dll, which is not part of Windows or of the wheel")
    files = {f"{scripts}tool.exe": program, f"{scripts}vcruntime140.dll": make_pe()}
    assert messages(windows(tmp_path / "brings", files), tmp_path / "brings", "WHL503") == []


# Extension modules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "ending", "is_valid"),
    [
        ("cp311-cp311-manylinux_2_17_x86_64", "cpython-311-x86_64-linux-gnu.so", True),
        ("cp311-cp311-manylinux_2_17_x86_64", "cpython-311-x86_64-linux-musl.so", False),
        ("cp311-cp311-manylinux_2_17_x86_64", "cpython-311-aarch64-linux-gnu.so", False),
        ("cp311-cp311-manylinux_2_17_x86_64", "cpython-312-x86_64-linux-gnu.so", False),
        ("cp311-cp311-manylinux_2_17_x86_64", "abi3.so", True),
        ("cp311-cp311-manylinux_2_17_x86_64", "so", True),
        ("cp37-cp37m-manylinux1_x86_64", "cpython-37m-x86_64-linux-gnu.so", True),
        ("cp312-cp312-musllinux_1_2_aarch64", "cpython-312-aarch64-linux-musl.so", True),
        ("cp312-cp312-musllinux_1_2_aarch64", "cpython-312-aarch64-linux-gnu.so", False),
        ("cp39-cp39-musllinux_1_1_x86_64", "cpython-39-x86_64-linux-gnu.so", True),
        ("cp312-cp312-manylinux_2_31_armv7l", "cpython-312-arm-linux-gnueabihf.so", True),
        ("cp312-cp312-manylinux2014_i686", "cpython-312-i386-linux-gnu.so", True),
        ("cp314-cp314t-manylinux_2_17_x86_64", "cpython-314t-x86_64-linux-gnu.so", True),
        ("cp314-cp314t-manylinux_2_17_x86_64", "cpython-314-x86_64-linux-gnu.so", False),
        ("cp314-cp314t-manylinux_2_17_x86_64", "abi3.so", False),
        ("cp315-cp315t-manylinux_2_17_x86_64", "abi3t.so", True),
        ("cp315-abi3t-manylinux_2_17_x86_64", "abi3t.so", True),
        ("cp38-abi3-manylinux_2_17_x86_64", "abi3.so", True),
        ("cp38-abi3-manylinux_2_17_x86_64", "cpython-38-x86_64-linux-gnu.so", False),
        ("cp311-cp311-macosx_11_0_arm64", "cpython-311-darwin.so", True),
        ("cp311-cp311-macosx_11_0_arm64", "cpython-310-darwin.so", False),
        ("cp311-cp311-win_amd64", "cp311-win_amd64.pyd", True),
        ("cp311-cp311-win_amd64", "cp311-win32.pyd", False),
        ("cp311-cp311-win_amd64", "pyd", True),
        ("cp311-cp311-win_amd64", "so", False),
        ("cp38-abi3-win_amd64", "cp38-win_amd64.pyd", False),
        ("cp311-none-win_amd64", "cp311-win_amd64.pyd", True),
        ("cp311-none-win_amd64", "cp312-win_amd64.pyd", False),
        ("cp311-none-win_amd64", "cp311-win32.pyd", False),
        ("cp311-none-manylinux_2_17_x86_64", "cpython-311-x86_64-linux-gnu.so", True),
        ("cp311-none-manylinux_2_17_x86_64", "cpython-312-x86_64-linux-gnu.so", False),
        ("cp311-none-macosx_11_0_arm64", "cpython-311-darwin.so", True),
        ("cp3-none-win_amd64", "cp311-win_amd64.pyd", False),
    ],
)
def test_suffixes_that_the_tags_interpreter_imports(tag: str, ending: str, is_valid: bool) -> None:
    wanted = suffixes(Tag(*tag.split("-")))
    assert wanted is not None
    assert (ending in wanted) == is_valid


@pytest.mark.parametrize(
    "tag", ["pp311-pypy311_pp73-manylinux_2_17_x86_64", "cp311-cp310-linux_x86_64", "xx-none-win32", "py3-none-any"]
)
def test_suffixes_of_unknown_tags_are_not_checked(tag: str) -> None:
    assert suffixes(Tag(*tag.split("-"))) is None


def test_one_of_several_suffixes_is_enough(tmp_path: Path) -> None:
    files = {"pkg/_native.cpython-312-x86_64-linux-gnu.so": make_elf(exports=INIT)}
    assert messages(linux(tmp_path / "dist", files), tmp_path, "WHL603") == []


def test_a_module_without_its_function_in_one_slice(tmp_path: Path) -> None:
    data = make_fat({"x86_64": make_macho(machine="x86_64", exports=INIT), "arm64": make_macho()})
    path = native(tmp_path / "dist", data, ".cpython-311-darwin.so", "cp311-cp311-macosx_11_0_universal2")
    (message,) = messages(path, tmp_path, "WHL604")
    assert "(arm64) does not export PyInit__native; it exports no init function" in message


def test_init_functions_of_packages_and_of_the_newer_protocol(tmp_path: Path) -> None:
    files = {
        f"pkg/sub/__init__{LINUX_SUFFIX}": make_elf(exports=("PyInit_sub",)),
        f"pkg/new{LINUX_SUFFIX}": make_elf(exports=("PyModExport_new",)),
    }
    assert messages(linux(tmp_path / "dist", files), tmp_path, "WHL604") == []


@pytest.mark.parametrize("make", [make_elf, make_macho])
def test_init_functions_of_cffi_modules_for_pypy(tmp_path: Path, make: Callable[..., bytes]) -> None:
    system = "x86_64-linux-gnu" if make is make_elf else "darwin"
    platform = "manylinux_2_17_x86_64" if make is make_elf else "macosx_11_0_arm64"
    module = make(exports=("_cffi_pypyinit__native",))
    path = native(tmp_path / "dist", module, f".pypy311-pp73-{system}.so", f"pp311-pypy311_pp73-{platform}")
    assert messages(path, tmp_path, "WHL604") == []


@pytest.mark.parametrize(
    ("tag", "symbol", "severity"),
    [
        # abi3audit refuses these two. No version of the stable ABI has them.
        ("cp38-abi3", "_PyLong_AsByteArray", Severity.ERROR),
        ("cp38-abi3", "PyUnicode_AsUTF8AndSize_of_the_future", Severity.ERROR),
        # The version is newer than the table, which may lack its functions.
        ("cp339-abi3", "PyUnicode_AsUTF8AndSize_of_the_future", Severity.WARNING),
        ("cp38-abi3", "PyLong_FromLong", None),
    ],
)
def test_functions_outside_of_the_stable_abi(tmp_path: Path, tag: str, symbol: str, severity: Severity | None) -> None:
    module = make_elf(exports=INIT, imports=(symbol,))
    path = native(tmp_path / "dist", module, ".abi3.so", f"{tag}-manylinux_2_17_x86_64")
    (result,) = run(path, tmp_path, "WHL608")
    assert [finding.severity for finding in result.findings] == ([] if severity is None else [severity])


# Metadata -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interpreter", "abi", "first", "last"),
    [("cp311", "cp311", "3.11.0", "3.11.39"), ("cp38", "abi3", "3.8.0", "3.40.39"), ("py3", "none", "3.0.0", "3.40.39"),
     ("py2", "none", "2.0.0", "2.40.39"), ("cp314", "cp314t", "3.14.0", "3.14.39")],
)  # fmt: skip
def test_versions_that_a_tag_allows(interpreter: str, abi: str, first: str, last: str) -> None:
    versions = versions_of_tag(interpreter, abi)
    assert (versions[0], versions[-1]) == (first, last)
    assert versions_of_tag("xx", "none") == []


def test_same_versions() -> None:
    assert same_version("1.0+a_b", "1.0+a.b")
    assert same_version("1.0", "1.0.0")
    assert not same_version("1.0", "1.0.1")
    assert not same_version("", "1.0")


@pytest.mark.parametrize(
    ("requires", "tags", "is_valid"),
    [
        (">=3.11", ("cp311-cp311-linux_x86_64",), True),
        (">=3.12", ("cp311-cp311-linux_x86_64",), False),
        (">=3.11.4", ("cp311-cp311-linux_x86_64",), True),
        (">=3.12", ("cp38-abi3-linux_x86_64",), True),
        ("<3.8", ("cp38-abi3-linux_x86_64",), False),
        (">=3.8", ("py2-none-any", "py3-none-any"), True),
        (">=2.7,<3", ("py3-none-any",), False),
        ("nonsense", ("py3-none-any",), True),
    ],
)
def test_requires_python(tmp_path: Path, requires: str, tags: tuple[str, ...], is_valid: bool) -> None:
    path = pure(tmp_path / "dist", tags=tags, requires_python=requires)
    assert (messages(path, tmp_path, "WHL211") == []) == is_valid


def test_a_license_file_in_old_metadata_is_accepted(tmp_path: Path) -> None:
    path = pure(tmp_path / "dist", metadata="Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\nLicense-File: LICENSE\n")
    assert messages(path, tmp_path, "WHL209") == messages(path, tmp_path, "WHL215") == []


IMPORT_NAMES: dict[str, tuple[tuple[str, ...], list[tuple[Severity, str]]]] = {
    "nothing declared": ((), []),
    "declared": (("Import-Name: pkg", "Import-Name: space.part", "Import-Namespace: space"), []),
    "private": (("Import-Name: pkg ; private", "Import-Name: pkg.sub", "Import-Namespace: space"), []),
    "lost": (("Import-Name: pkg", "Import-Name: pkg.lost", "Import-Namespace: space"), [(Severity.ERROR, "pkg.lost")]),
    "lost namespace": (
        ("Import-Name: pkg", "Import-Name: space.part", "Import-Namespace: far"),
        [(Severity.ERROR, "far")],
    ),
    "undeclared": (("Import-Name: pkg",), [(Severity.WARNING, "the wheel has space,")]),
    "nothing to import": (("Import-Name:",), [(Severity.WARNING, "the wheel has pkg, space,")]),
}


@pytest.mark.parametrize("case", IMPORT_NAMES)
def test_import_names(tmp_path: Path, case: str) -> None:
    fields, expected = IMPORT_NAMES[case]
    text = "\n".join(("Metadata-Version: 2.5", "Name: pkg", "Version: 1.0", *fields, ""))
    files = {"pkg/sub.py": "", "space/part/__init__.py": "", "_private.py": ""}
    (result,) = run(pure(tmp_path / "dist", files, metadata=text), tmp_path, "WHL219")
    assert not result.error
    assert [finding.severity for finding in result.findings] == [severity for severity, _ in expected]
    assert all(part in finding.message for finding, (_, part) in zip(result.findings, expected, strict=True))


def test_an_import_name_of_another_platform_is_advice(tmp_path: Path) -> None:
    text = "Metadata-Version: 2.5\nName: pkg\nVersion: 1.0\nImport-Name: pkg\nImport-Name: pkg_win\n"
    here = opened(linux(tmp_path / "linux"), tmp_path)
    (tmp_path / "pure").mkdir()
    wheel = opened(pure(tmp_path / "pure", metadata=text), tmp_path)
    other = opened(windows(tmp_path / "windows", {"pkg_win.py": ""}), tmp_path)
    for release, severity in (([wheel, here], Severity.ERROR), ([wheel, other], Severity.WARNING)):
        (result,) = run_checks(wheel, select=["WHL219"], release=release)
        assert [finding.severity for finding in result.findings] == [severity]


@pytest.mark.parametrize("name", ["pkg.pth", "pkg.start"])
def test_files_that_run_code_at_every_start(tmp_path: Path, name: str) -> None:
    assert len(messages(pure(tmp_path / "dist", {name: "pkg:main\n"}), tmp_path, "WHL805")) == 1
    assert messages(pure(tmp_path / "below", {f"pkg/{name}": "pkg:main\n"}), tmp_path, "WHL805") == []


@pytest.mark.parametrize(
    ("own", "other", "severity"),
    [
        ("manylinux_2_17_aarch64", "manylinux_2_17_x86_64", Severity.WARNING),
        ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", Severity.ERROR),
        ("musllinux_1_2_x86_64", "manylinux_2_17_x86_64", Severity.ERROR),
        ("macosx_11_0_arm64", "macosx_10_9_x86_64", Severity.WARNING),
        ("macosx_11_0_arm64", "macosx_11_0_universal2", Severity.ERROR),
        ("win_arm64", "win_amd64", Severity.WARNING),
        ("win_amd64", "win_amd64", Severity.ERROR),
        ("win_amd64", "manylinux_2_17_x86_64", None),
    ],
)
def test_a_module_for_one_instruction_set(tmp_path: Path, own: str, other: str, severity: Severity | None) -> None:
    def wheel(directory: str, platform: str, *names: str) -> Wheel:
        suffix = ".pyd" if platform.startswith("win") else ".so"
        make = make_pe if suffix == ".pyd" else make_elf
        files: dict[str, bytes | str] = {f"pkg/{name}{suffix}": make(exports=(f"PyInit_{name}",)) for name in names}
        return opened(
            build_wheel(tmp_path / directory, "pkg", files=files, tags=(f"cp311-cp311-{platform}",)), tmp_path
        )

    release = [wheel("own", own, "fast"), wheel("other", other, "fast", "fast_avx2")]
    (result,) = run_checks(release[0], select=["WHL606"], release=release)
    assert [finding.severity for finding in result.findings] == ([] if severity is None else [severity])


@pytest.mark.parametrize(
    ("entries", "is_valid"),
    [
        ({"a": "pkg:main"}, True),
        ({"a": "pkg.sub:obj.attr"}, True),
        ({"a": "pkg:main [extra]"}, True),
        ({"a": "pkg main"}, False),
        ({"a": ":main"}, False),
        ({"a": "pkg:"}, False),
    ],
)
def test_entry_points(tmp_path: Path, entries: dict[str, str], is_valid: bool) -> None:
    path = pure(tmp_path / "dist", entry_points={"console_scripts": entries})
    assert (messages(path, tmp_path, "WHL212") == []) == is_valid


def test_commands_of_namespace_packages_and_of_other_projects_are_not_checked(tmp_path: Path) -> None:
    scripts = {"a": "space.elsewhere:main", "b": "other.cli:main", "c": "space.here:main"}
    files = {"space/here.py": ""}
    path = build_wheel(tmp_path, "space-here", files=files, entry_points={"console_scripts": scripts})
    assert messages(path, tmp_path, "WHL214") == []


PLATFORMS = (
    *("any", "win32", "win_amd64", "win_arm64", "linux_armv7l", "manylinux1_i686", "manylinux_2_39_riscv64"),
    *("musllinux_1_2_ppc64le", "macosx_10_9_universal2", "ios_13_0_arm64_iphoneos", "android_21_arm64_v8a"),
    *("pyodide_2024_0_wasm32", "pyemscripten_2025_0_wasm32"),
)


def test_tags_of_every_kind_are_known(tmp_path: Path) -> None:
    for platform in PLATFORMS:
        for python in ("cp314-cp314t", "cp37-cp37m", "pp311-pypy311_pp73", "cp38-abi3", "cp315-abi3t", "py3-none"):
            path = build_wheel(tmp_path / platform, "pkg", tags=(f"{python}-{platform}",))
            assert messages(path, tmp_path, "WHL217") == []
    for tag in ("cp311-cp311-linux", "cp311-whatever-win_amd64", "xx3-none-any"):
        assert messages(build_wheel(tmp_path / tag, "pkg", tags=(tag,)), tmp_path, "WHL217")


# RECORD ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\xff", "not valid UTF-8"),
        (b'"a\n', "not valid CSV"),
    ],
)
def test_a_record_that_cannot_be_parsed(data: bytes, error: str) -> None:
    assert error in parse_record(data).error


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("a", "1 fields"),
        ("a,b,c,d", "4 fields"),
        ("a,nothing,1", "algorithm=digest"),
        ("a,sha256=???,1", "base64"),
        ("a,sha256=AAAA,many", "not a number"),
        ("a,sha256=AAAA,-1", "not a number"),
        ("a,sha256=AAAA," + "9" * 30, "not a number"),
    ],
)
def test_malformed_lines_of_record(line: str, error: str) -> None:
    (found,) = parse_record(line.encode()).entries
    assert error in found.error


def test_valid_lines_of_record() -> None:
    record = parse_record(b'"a,b.py",sha256=AAAA,3\r\n\r\nRECORD,,\r\n')
    first, second = record.entries
    assert (first.path, first.algorithm, first.digest, first.size) == ("a,b.py", "sha256", b"\0\0\0", 3)
    assert (second.path, second.algorithm, second.size) == ("RECORD", "", None)
    assert not first.error + second.error + record.error


# Systems --------------------------------------------------------------------------------------------------------------


def test_the_systems_of_a_wheel(tmp_path: Path) -> None:
    def of(*tags: str) -> frozenset[str]:
        return systems(opened(build_wheel(tmp_path / tags[0], "pkg", tags=tags), tmp_path))

    assert of("py3-none-any") == {"linux", "macos", "windows"}
    assert of("py3-none-manylinux_2_17_x86_64", "py3-none-musllinux_1_1_x86_64") == {"linux"}
    assert of("py3-none-win32") == {"windows"}
    assert of("py3-none-macosx_11_0_arm64") == {"macos"}
    assert of("py3-none-ios_13_0_arm64_iphoneos") == {"other"}


def test_collisions_matter_only_where_case_is_ignored(tmp_path: Path) -> None:
    assert messages(linux(tmp_path / "a", {"pkg/x": "", "pkg/X": "", "pkg/aux": ""}), tmp_path, "WHL105") == []
    assert messages(linux(tmp_path / "b", {"pkg/aux.h": ""}), tmp_path, "WHL112") == []


# Undefined symbols ---------------------------------------------------------------------------------------


def needing(folder: Path, *imports: str, **more: Any) -> Path:
    return linux(folder, more.pop("files", {}), imports=imports, **more)


def test_symbols_of_bundled_libraries_are_found(tmp_path: Path) -> None:
    files = {"pkg.libs/libfoo-1.so": make_elf(exports=("foo",), needed=("libbar-1.so",), soname="libfoo-1.so")}
    files["pkg.libs/libbar-1.so"] = make_elf(imports=("lost",), soname="libbar-1.so")
    path = needing(tmp_path / "dist", "foo", "bar", needed=("libfoo-1.so", "libc.so.6"), files=files)
    assert messages(path, tmp_path, "WHL609") == [
        f"pkg/_native{LINUX_SUFFIX} (x86_64) needs bar, which no linked library provides",
        "pkg.libs/libbar-1.so (x86_64) needs lost, which no linked library provides",
    ]


def test_many_undefined_symbols_give_a_short_message(tmp_path: Path) -> None:
    (message,) = messages(needing(tmp_path / "dist", *(f"lost{n}" for n in range(9))), tmp_path, "WHL609")
    assert "lost0, lost1, lost2, lost3, lost4 and 4 more" in message


@pytest.mark.parametrize("library", ["libz.so.1", "libX11.so.6", "libtorch.so"])
def test_a_library_without_versions_may_have_any_symbol(tmp_path: Path, library: str) -> None:
    path = needing(tmp_path / "dist", "inflate", needed=(library, "libc.so.6"))
    assert messages(path, tmp_path, "WHL609") == []


def test_symbols_of_musl_are_not_checked(tmp_path: Path) -> None:
    assert messages(musl(tmp_path / "dist", imports=("malloc",)), tmp_path, "WHL609") == []


def test_an_underlinked_mathematical_function_is_found_in_the_libraries_of_the_interpreter(tmp_path: Path) -> None:
    assert messages(needing(tmp_path / "dist", "pow", "malloc", "PyLong_FromLong"), tmp_path, "WHL609") == []


def test_symbols_of_macos_that_are_looked_up_in_every_library(tmp_path: Path) -> None:
    path = macos(tmp_path / "dist", anywhere=("lost", "PyLong_FromLong"))
    assert messages(path, tmp_path, "WHL609") == [
        "pkg/_native.cpython-311-darwin.so (arm64) needs lost, which no linked library provides"
    ]
    files: dict[str, bytes | str] = {"pkg/.dylibs/libfoo.dylib": make_macho(kind=6, exports=("lost",))}
    assert messages(macos(tmp_path / "more", files, anywhere=("lost",)), tmp_path, "WHL609") == []


COCOA = "/System/Library/Frameworks/Cocoa.framework/Versions/A/Cocoa"
LIBCXX = "/usr/lib/libc++.1.dylib"


@pytest.mark.parametrize(
    ("symbol", "linked", "severity"),
    [
        # The interpreter has loaded CoreFoundation, a framework may export symbols of others, libSystem is everywhere.
        ("CFRelease", (), Severity.WARNING),
        ("kCFAllocatorDefault", (), Severity.WARNING),
        ("objc_msgSend", (COCOA,), Severity.WARNING),
        ("objc_msgSend", (), Severity.WARNING),
        ("malloc", (), Severity.WARNING),
        ("dispatch_async", (), Severity.WARNING),
        ("_ZNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEED1Ev", (LIBCXX,), Severity.WARNING),
        ("_ZTVN10__cxxabiv117__class_type_infoE", (LIBCXX,), Severity.WARNING),
        ("_Znwm", (LIBCXX,), Severity.WARNING),
        ("at_of_another_wheel", ("@rpath/libtorch.dylib",), Severity.WARNING),
        # A function of the project itself that was not linked.
        ("lost", (), Severity.ERROR),
        ("lost", (LIBCXX, "/usr/lib/libobjc.A.dylib"), Severity.ERROR),
        ("_ZN3pkg4lostEv", (LIBCXX,), Severity.ERROR),
        ("NSlost", (), Severity.ERROR),
    ],
)
def test_symbols_that_macos_or_the_process_may_supply(
    tmp_path: Path, symbol: str, linked: tuple[str, ...], severity: Severity
) -> None:
    needed = ("/usr/lib/libSystem.B.dylib", *linked)
    (result,) = run(macos(tmp_path / "dist", anywhere=(symbol,), needed=needed), tmp_path, "WHL609")
    assert [finding.severity for finding in result.findings] == [severity]
    assert symbol in result.findings[0].message


# Descriptions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        ("", "Title\n=====\n\nfine\n", ""),
        ("", "Title\n==\n", ""),
        ("text/x-rst; charset=UTF-8", ":no-such-role:`x`\n", "line 1: (ERROR/3) Unknown interpreted text role"),
        ("text/markdown", "Title\n==\n\n.. nothing::\n", ""),
        ("text/plain", ".. nothing::\n", ""),
        ("", ".. code-block:: no-such-language\n\n    x\n", ""),
        ("", "", ""),
    ],
)
def test_descriptions_as_an_index_renders_them(tmp_path: Path, kind: str, text: str, error: str) -> None:
    extra = f"Description-Content-Type: {kind}" if kind else ""
    found = messages(pure(tmp_path / "dist", metadata_extra=extra, description=text), tmp_path, "WHL218")
    assert bool(found) == bool(error)
    assert all(error in message for message in found)


def test_without_the_renderer_the_outcome_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "readme_renderer", None)
    found = {result.check.code: result for result in run(pure(tmp_path / "rst", description="Title\n==\n"), tmp_path)}
    assert found["WHL218"].outcome is Outcome.SKIPPED
    assert "install pytest-wheelcheck[readme]" in found["WHL218"].skip_reason
    markdown = pure(tmp_path / "md", metadata_extra="Description-Content-Type: text/markdown", description="# Title")
    found = {result.check.code: result for result in run(markdown, tmp_path)}
    assert found["WHL218"].outcome is Outcome.PASSED


# Digests of native files, which the parser process computes -------------------------------------------------------


def test_a_changed_native_file_is_found(tmp_path: Path) -> None:
    sound = linux(tmp_path / "sound")
    with ZipFile(sound) as archive:
        record = archive.read("pkg-1.0.dist-info/RECORD").decode()
    module = make_elf(exports=INIT, soname="changed")
    path = native(tmp_path / "dist", module, LINUX_SUFFIX, "cp311-cp311-manylinux_2_17_x86_64", record=record)
    found = {result.check.code: result for result in run(path, tmp_path)}
    name = f"pkg/_native{LINUX_SUFFIX}"
    assert [one.message for one in found["WHL125"].findings] == [f"the sha256 of {name} differs from RECORD"]


def test_a_stronger_digest_of_a_native_file_is_checked(tmp_path: Path) -> None:
    module = make_elf(exports=INIT)
    name = f"pkg/_native{LINUX_SUFFIX}"
    for number, data in enumerate((module, b"other")):
        digest = base64.urlsafe_b64encode(hashlib.sha512(data).digest()).rstrip(b"=").decode()
        record = f"{name},sha512={digest},{len(module)}\n"
        tag = "cp311-cp311-manylinux_2_17_x86_64"
        path = native(tmp_path / str(number), module, LINUX_SUFFIX, tag, record=record)
        found = {result.check.code: result for result in run(path, tmp_path)}
        assert bool(found["WHL125"].findings) is bool(number)


def test_digests_do_not_depend_on_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(path: Path) -> NoReturn:
        raise ProcessError("the reader ended")

    monkeypatch.setattr("pytest_wheelcheck.checks.contents.read_binaries", dead)
    found = {result.check.code: result for result in run(linux(tmp_path / "dist"), tmp_path)}
    assert found["WHL125"].outcome is found["WHL113"].outcome is Outcome.PASSED
    assert found["WHL601"].outcome is Outcome.ERROR


def test_a_library_that_the_loader_of_macos_finds_last(tmp_path: Path) -> None:
    """dyld takes libraries of macOS from /usr/lib that it does not find elsewhere; others it does not."""
    found = {}
    for library in ("@rpath/libz.1.dylib", "@rpath/libown.dylib", "@loader_path/libz.1.dylib"):
        path = macos(tmp_path / library.rpartition("/")[2] / library[1:4], needed=(library,))
        (result,) = run(path, tmp_path, "WHL403")
        found[library] = [(finding.severity, finding.message.rpartition(", ")[2]) for finding in result.findings]
    assert found == {
        "@rpath/libz.1.dylib": [(Severity.WARNING, "where the loader searches last")],
        "@rpath/libown.dylib": [(Severity.ERROR, "but has no search path")],
        "@loader_path/libz.1.dylib": [(Severity.ERROR, "which is not in the wheel")],
    }


@pytest.mark.parametrize("command", [DYLD_INFO, EXPORTS_TRIE], ids=hex)
@pytest.mark.parametrize("machine", ["arm64", "x86_64"])
def test_exports_of_a_stripped_file_of_macos(tmp_path: Path, command: int, machine: str) -> None:
    """The loader reads the trie of exports; the symbol table may be stripped of them."""
    data = make_macho(exports=("PyInit__native", "other"), machine=machine, trie=command)
    (found,) = read_binary("x.so", data)
    assert (found.init_functions, found.exports) == (("PyInit__native",), True)
    assert exports_of_macho(data, frozenset({"other", "third"})) == {"other"}
    path = native(tmp_path, data, ".cpython-311-darwin.so", f"cp311-cp311-macosx_11_0_{machine}")
    assert messages(path, tmp_path, "WHL604") == []
    # Of another module, as before.
    path = native(tmp_path / "2", make_macho(exports=("PyInit_other",), trie=command), ".cpython-311-darwin.so", MACOS)
    assert "does not export PyInit__native" in messages(path, tmp_path, "WHL604")[0]


@given(trie=st.binary(max_size=60))
def test_a_malformed_trie_ends(trie: bytes) -> None:
    for data in (trie, make_trie(("PyInit_a",)) + trie, make_trie(("PyInit_a", "b"))[:-3] + trie):
        with contextlib.suppress(ValueError):
            assert len(list(names_of_trie(data))) <= len(data)


def test_a_trie_with_a_circle_ends() -> None:
    assert list(names_of_trie(b"\x00\x01_\x00\x00")) == []
    with pytest.raises(ValueError, match="a number without an end"):
        list(names_of_trie(b"\x80"))
    with pytest.raises(ValueError, match="a name without an end"):
        list(names_of_trie(b"\x00\x01abc"))


@needs_auditwheel
def test_symbols_are_read_once_for_all_policies(tmp_path: Path) -> None:
    """auditwheel reads them for each policy if a file needs zlib, of which the policies forbid some symbols."""
    from auditwheel import elfutils

    from pytest_wheelcheck.checks.parser_process import run_task

    path = linux(tmp_path, needed=("libz.so.1", "libc.so.6"))
    (answer,) = run_task("policies", str(path), ["glibc:x86_64"])
    assert len(answer["policies"]) > 5
    read = elfutils.get_undefined_symbols.cache_info()
    assert (read.misses, read.hits > 3) == (1, True)

"""What native files consist of: sections, debug information and symbols, in the readers and in the reports."""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import build_wheel
from checks.objects import make_elf, make_fat
from compiled import extension, needs_compiler
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nodes import Run
from test_report_page import Page
from test_report_schema import validate
from test_reporting import wheel

from pytest_wheelcheck.model import ContentsEntry, Section
from pytest_wheelcheck.reporting import html
from pytest_wheelcheck.reporting.html.treemap import kind_of
from pytest_wheelcheck.reporting.merge import merge
from pytest_wheelcheck.reporting.report import Report
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.binary_reader import read_binary
from pytest_wheelcheck.wheels.sections import MAX_SECTIONS, OTHER, largest, with_sections

DATA = Path(__file__).parent / "checks" / "data"
#: Where the header of ``.text`` is in the table of sections of a file of :func:`make_elf`.
TEXT = 6 * 64

SAMPLES = sorted(path for path in DATA.iterdir() if path.suffix in {".so", ".pyd"})


def only(data: bytes) -> Binary:
    """Read a file of one slice, which must be readable."""
    (binary,) = read_binary("x", data)
    assert not binary.error
    return binary


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_sections_of_a_file_are_the_whole_file(path: Path) -> None:
    binary = only(path.read_bytes())
    assert sum(size for _, size in binary.sections) == path.stat().st_size
    assert len(binary.sections) > 3
    assert all(name and size for name, size in binary.sections)
    assert (binary.debug_size > 0) is binary.debug


@example([(f".section{number}", number) for number in range(20)], 5)
@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(max_size=90), st.integers(0, 10**6)), max_size=40), st.integers(0, 10**6))
def test_few_sections_are_named_and_none_is_lost(sections: list[tuple[str, int]], rest: int) -> None:
    total = sum(size for _, size in sections) + rest
    found = largest(sections, total)
    assert len(found) <= MAX_SECTIONS + 1
    assert sum(size for _, size in found) == (total if sections else 0)
    assert all(len(name) <= 60 for name, _ in found)
    assert largest([("a", total + 1)], total) == ()


@needs_compiler
def test_what_strip_would_save(tmp_path: Path) -> None:
    functions = "".join(f"int f{number}(int x) {{ return x * {number}; }}\n" for number in range(300))
    binary = only(extension(tmp_path, "big", head=functions, flags=("-g",)))
    subprocess.run(["strip", tmp_path / "big.so", "-o", tmp_path / "small.so"], check=True)
    saved = (tmp_path / "big.so").stat().st_size - (tmp_path / "small.so").stat().st_size
    # Headers, names of sections and padding go as well.
    assert 0.9 * saved < binary.debug_size + binary.symbols_size <= saved
    assert binary.debug_size > 10_000
    assert binary.symbols_size > 5_000
    stripped = only((tmp_path / "small.so").read_bytes())
    assert (stripped.debug_size, stripped.symbols_size) == (0, 0)


def test_a_table_of_sections_that_lies_is_not_shown() -> None:
    data = bytearray(make_elf(debug=True))
    (place,) = struct.unpack_from("<Q", data, 0x28)
    sizes = dict(only(bytes(data)).sections)
    assert ".debug_info" in sizes
    for size in (len(data), 1 << 62):
        struct.pack_into("<Q", data, place + TEXT + 0x20, size)
        binary = only(bytes(data))
        assert (binary.sections, binary.debug_size, binary.symbols_size) == ((), 0, 0)
        assert binary.debug


def test_sections_without_bytes_in_the_file() -> None:
    """``.bss`` and its like are as large as they want, and take up nothing."""
    elf = bytearray(make_elf(debug=True))
    (place,) = struct.unpack_from("<Q", elf, 0x28)
    struct.pack_into("<I", elf, place + TEXT + 4, 8)  # SHT_NOBITS
    struct.pack_into("<Q", elf, place + TEXT + 0x20, 1 << 40)
    assert only(bytes(elf)).sections
    macho = bytearray((DATA / "macho-x86_64.so").read_bytes())
    place = macho.index(b"__data\0")
    struct.pack_into("<Q", macho, place + 40, 1 << 40)
    assert only(bytes(macho)).sections == ()
    struct.pack_into("<I", macho, place + 64, 1)  # S_ZEROFILL
    assert only(bytes(macho)).sections


def test_debug_information_of_mingw() -> None:
    """Names of more than eight bytes are in the string table behind the symbols."""
    data = bytearray((DATA / "pe-amd64-mingw.pyd").read_bytes())
    place = data.index(b".xdata\0\0")
    data[place : place + 8] = b"/4".ljust(8, b"\0")
    header = struct.unpack_from("<I", data, 0x3C)[0] + 4
    struct.pack_into("<2I", data, header + 8, len(data), 2)
    strings = b".debug_info\0"
    data += b"\0" * 36 + struct.pack("<I", 4 + len(strings)) + strings
    binary = only(bytes(data))
    assert (binary.debug, binary.debug_size, binary.symbols_size) == (True, 512, 36 + 4 + len(strings))
    assert {(".debug_info", 512), ("symbol table", 52)} <= {*binary.sections}


def test_debug_information_and_local_symbols_of_macos() -> None:
    sample = (DATA / "macho-arm64.so").read_bytes()
    assert only(sample).debug_size == 0
    assert 0 < only(sample).symbols_size < dict(only(sample).sections)["symbol table"]
    debug = only(sample.replace(b"__DATA_CONST", b"__DWARF\0\0\0\0\0"))
    assert (debug.debug, debug.debug_size) == (True, 8)


def test_slices_of_a_universal_file_are_joined() -> None:
    slices = {machine: (DATA / f"macho-{machine}.so").read_bytes() for machine in ("x86_64", "arm64")}
    data = make_fat(slices)
    contents = (entry("x", len(data), kind="native"),)
    (found,) = with_sections(contents, read_binary("x", data), "d.dist-info")
    each = [only(file) for file in slices.values()]
    sizes = {section.name: section.size for section in found.sections}
    assert sizes["symbol table"] == sum(dict(binary.sections)["symbol table"] for binary in each)
    assert sum(sizes.values()) == len(data)
    assert found.symbols_size == sum(binary.symbols_size for binary in each)


def test_small_native_files_count_without_their_sections() -> None:
    contents = (entry("a.so", 900), entry("", 900, kind="native"), entry("", 900, kind="library"))
    parts: dict[str, Any] = {"format": "ELF", "sections": ((".text", 10),), "debug_size": 7, "symbols_size": 5}
    binaries = [Binary(path=path, **parts) for path in ("a.so", "b.so", "c.so", "x.libs/d.so")]
    found = with_sections(contents, binaries, "d.dist-info")
    assert [each.debug_size for each in found] == [7, 14, 7]
    assert [each.symbols_size for each in found] == [5, 10, 5]
    assert [len(each.sections) for each in found] == [2, 0, 0]


def entry(path: str, size: int, *, kind: str = "native", **more: Any) -> ContentsEntry:
    return ContentsEntry(path=path, kind=kind, size=size, compressed_size=size // 3, files=1, **more)


# In reports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_reports_have_the_sections(pytester: pytest.Pytester, run_wheels: Run, workers: tuple[str, ...]) -> None:
    files: dict[str, bytes | str] = {
        "demo/__init__.py": "",
        "demo/core.so": make_elf(debug=True, payload=b"x" * 90_000),
    }
    build_wheel(pytester.path / "dist", "demo", files=files, tags=("cp312-cp312-manylinux_2_17_x86_64",))
    reports = ("--wheel-report=r.json", "--wheel-report=r.html")
    run_wheels("--wheel", "dist", "--wheel-static", "--wheel-select=WHL801", *reports, *workers)
    (first, *others) = validate((pytester.path / "r.json").read_text())["wheels"][0]["contents"]
    assert first["sections"][0] == {"name": ".text", "size": 90_000}
    assert first["debug_size"] == 8
    assert all(each["sections"] == [] for each in others)
    page = (pytester.path / "r.html").read_text()
    assert ">.text: 90.0\u00a0kB unpacked</title>" in page
    merged = pytester.run(
        sys.executable, "-m", "pytest_wheelcheck", "merge", "r.json", "r.json", "--wheel-report=m.json"
    )
    assert merged.ret == 0
    assert json.loads((pytester.path / "m.json").read_text())["wheels"][0]["contents"][0] == first


def test_no_file_is_read_for_the_report_alone(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "demo", files={"demo.so": make_elf()}, tags=("cp312-cp312-linux_x86_64",))
    run_wheels("--wheel", "dist", "--wheel-static", "--wheel-select=WHL1", "--wheel-report=r.json")
    contents = validate((pytester.path / "r.json").read_text())["wheels"][0]["contents"]
    assert contents
    assert all(each["sections"] == [] for each in contents)


SECTIONS = tuple(
    Section(name=name, size=size)
    for name, size in ((".text", 700_000), (".debug_info", 150_000), (".rodata", 90_000), (".symtab", 60_000))
)
NATIVE = entry("pkg/core.so", 1_000_000, sections=SECTIONS, debug_size=150_000, symbols_size=60_000)


def page_of(*contents: ContentsEntry, wheels: int = 1) -> str:
    one = wheel("cp312-cp312-manylinux_2_17_x86_64", contents=contents)
    return html.render(Report(wheels=(one,) * wheels))


def test_the_page_draws_sections_and_says_what_stripping_saves() -> None:
    page = page_of(NATIVE)
    assert [page.count(f'<rect class="n-{kind}"') for kind in ("code", "rest", "symbols", "debug")] == [1, 1, 1, 1]
    text = Page(page).text.replace("\u00a0", " ")
    assert "debug information 150.0 kB (unpacked)" in text
    saved = (
        "Stripping the native files saves about 210.0 kB unpacked: debug information 150.0 kB, symbol tables 60.0 kB."
    )
    assert f"not stripped {saved}" in " ".join(text.split())
    assert ".text 700.0 kB, .debug_info 150.0 kB, .rodata 90.0 kB, .symtab 60.0 kB210.0 kB" in text
    # The symbols of a small module are no reason for a hint.
    assert "Stripping" not in page_of(dataclasses.replace(NATIVE, debug_size=0, symbols_size=4000))
    symbols = page_of(dataclasses.replace(NATIVE, debug_size=0))
    assert "Stripping" in symbols
    assert "not stripped" not in symbols


@pytest.mark.parametrize(
    ("name", "kind"),
    [(".text", "code"), (".debug_str", "debug"), ("__DWARF,__debug_line", "debug"), (".strtab", "symbols"),
     ("symbol table", "symbols"), ("__TEXT,__text", "code"), ("__TEXT,__cstring", "rest"), (OTHER, "rest")],
)  # fmt: skip
def test_the_kind_of_a_section(name: str, kind: str) -> None:
    assert kind_of(Section(name=name, size=1)) == kind


def test_many_wheels_share_the_sections_that_are_drawn() -> None:
    files = [dataclasses.replace(NATIVE, path=f"pkg/m{number}.so") for number in range(20)]
    assert page_of(*files).count('<rect class="n-') > 70
    page = page_of(*files, wheels=60)
    assert 60 * 20 <= page.count('<rect class="n-') <= 1500
    assert len(page.encode()) < html.MAX_SIZE * 0.7


def test_a_merge_keeps_what_one_run_has_read() -> None:
    with_parts = Report(wheels=(wheel("py3-none-any", sha256="1", contents=(NATIVE,)),))
    without = Report(wheels=(wheel("py3-none-any", sha256="1", contents=(dataclasses.replace(NATIVE, sections=()),)),))
    for reports in ((with_parts, without), (without, with_parts)):
        assert merge(reports).wheels[0].contents == (NATIVE,)

"""The HTML report: what is on the page, and that a hostile wheel cannot do anything there."""

from __future__ import annotations

import base64
import hashlib
import html as html_text
import random
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from builders import build_wheel
from hypothesis import given
from hypothesis import strategies as st
from nodes import Run, run_output
from packaging.utils import canonicalize_name
from test_reporting import GOOD, full_report, result, target, wheel

from pytest_wheelcheck.model import ContentsEntry, Section
from pytest_wheelcheck.reporting import html
from pytest_wheelcheck.reporting.across import columns, rows
from pytest_wheelcheck.reporting.changes import FileChange, NameChange, WheelChanges
from pytest_wheelcheck.reporting.html.treemap import squares
from pytest_wheelcheck.reporting.report import (
    NodeResult,
    NotRun,
    PreviousReport,
    Report,
    TargetReport,
    Timing,
    WheelReport,
)
from pytest_wheelcheck.reporting.reproduce import command
from pytest_wheelcheck.reporting.write import write_reports
from pytest_wheelcheck.system.timing import STEPS
from pytest_wheelcheck.wheels.reader import open_wheel


class Page(HTMLParser):
    """The elements of a page.

    Attributes: ``elements``, pairs of tag and attributes; ``text``, what a reader sees; ``code``, scripts and styles.
    """

    #: Elements without an end.
    VOID = frozenset({"meta", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.code:
            self.code[self.open[-1]].append(data)
        else:
            self.text += data


HOSTILE = "</script><img src=x onerror=alert(1)>\"'`&<!--\x1b[31m\u202e\ud800\x00]]>"


def hostile_report() -> Report:
    """A report in which every text that a wheel, a test or an interpreter can choose is hostile."""
    bad = [NodeResult(name=f"{name}{HOSTILE}", outcome="failed", text=HOSTILE, warnings=(HOSTILE,))
           for name in ("tests/a.py::test_", "WHL203-wheel-file", "import[")]  # fmt: skip
    good = NodeResult(name=f"tests/b.py::{HOSTILE}", outcome="passed", seconds=2.0)
    targets = tuple(
        target("cp312", HOSTILE, *bad, good, name=f"{name}{HOSTILE}", source=HOSTILE, host=HOSTILE, machine=HOSTILE,
               libc=HOSTILE, timings=(Timing(name="tests", start=0.5, end=2),))
        for name in ("one", "two")
    )  # fmt: skip
    first = WheelReport(
        path=f"dist/{HOSTILE}.whl", filename=f"{HOSTILE}.whl", sha256="00", project=HOSTILE, version=HOSTILE,
        tags=(f"cp312-cp312-{HOSTILE}",), checks=(*bad, result("WHL203-wheel-file", "failed", HOSTILE)), targets=targets,
        not_run=(NotRun(name=HOSTILE, outcome="error", reason=HOSTILE),), timings=(Timing(name="checks", start=0, end=1),),
        contents=(ContentsEntry(path=HOSTILE, kind="native", size=9, compressed_size=9, files=1,
                                sections=(Section(name=HOSTILE, size=9),)),),
        changes=WheelChanges(
            release=HOSTILE, filename=HOSTILE, previous_size=1, previous_unpacked_size=1, unpacked_size=2, new=1,
            files=(FileChange(path=HOSTILE, change="new", size=1, compressed_size=1, previous_size=0,
                              previous_compressed_size=0),),
            names=(NameChange(kind="module", change="gone", name=HOSTILE),
                   NameChange(kind="dependency", change="changed", name=HOSTILE, before=HOSTILE, after=HOSTILE)),
        ),
    )  # fmt: skip
    return Report(
        wheels=(first,),
        release=tuple(bad),
        started=HOSTILE,
        command=HOSTILE,
        commit=HOSTILE,
        program=HOSTILE,
        options=(HOSTILE,),
        previous=(PreviousReport(release=HOSTILE, project=canonicalize_name(HOSTILE), wheels=(HOSTILE,)),),
    )


def test_hostile_texts_stay_texts() -> None:
    text = html.render(hostile_report(), ((HOSTILE, HOSTILE),))
    text.encode()
    page = Page(text)
    assert {"html", "body", "table", "svg", "details"} <= {tag for tag, _ in page.elements}
    assert not {"img", "iframe", "object", "link", "base", "embed"} & {tag for tag, _ in page.elements}
    assert [tag for tag, _ in page.elements].count("script") == 1
    for _, attributes in page.elements:
        assert not [
            name for name in attributes if name.startswith("on") or name in {"src", "style", "srcdoc", "action"}
        ]
        assert (attributes.get("href") or "#").startswith("#")
    assert page.text.count("<img src=x onerror=alert(1)>") > 20
    assert f"module gone: {HOSTILE[:40]}" in page.text
    assert not re.search("[\x00\x1b\u202e]", text)
    assert "\\u202e" in page.text


def test_only_the_style_and_the_script_of_the_page_are_allowed() -> None:
    page = Page(html.render(full_report()))
    policies = [
        attributes["content"] for tag, attributes in page.elements if tag == "meta" and "http-equiv" in attributes
    ]
    (policy,) = policies
    allowed = dict(directive.split(" ", 1) for directive in (policy or "").split("; "))
    assert allowed["default-src"] == "'none'"
    for kind in ("script", "style"):
        (code,) = page.code[kind]
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert allowed[f"{kind}-src"] == f"'sha256-{digest}'"
        assert "://" not in code
    assert len(page.code["script"][0]) < 6000


FILES = tuple(
    ContentsEntry(path=f"pkg/some_module_{number}.py", kind="python", size=999, compressed_size=900 - number, files=1)
    for number in range(40)
)


def many_wheels(count: int, *, text: str = "", tests: int = 0) -> Report:
    """A report of many wheels, each with failed checks and two targets."""
    results = [NodeResult(name=f"tests/test_{number % 9}.py::test_{number:04}[{'x' * 30}]", seconds=0.2,
                          outcome="failed" if number % 10 == 3 else "passed", text=text if number % 10 == 3 else "")
               for number in range(tests)]  # fmt: skip
    timings = tuple(Timing(name=name, start=float(index), end=index + 1.5) for index, name in enumerate(STEPS))
    checks = tuple(result(f"WHL{number}-some-check", "failed" if number < 103 else "passed", text if number < 103 else "")
                   for number in range(101, 165))  # fmt: skip
    return Report(wheels=tuple(
        wheel(f"cp312-cp312-manylinux_2_{number}_x86_64", checks=checks, timings=timings[1:2], contents=FILES, targets=tuple(
            target("cp312", "linux-x86_64", *GOOD, *results, name=f"cp312-linux-x86_64+m{index}", timings=timings)
            for index in range(2)
        )) for number in range(count)
    ), timings=timings[:1])  # fmt: skip


@pytest.mark.parametrize(("text", "tests"), [("short", 3), ("a line of output\n" * 450, 300)])
def test_the_page_of_sixty_wheels_is_small(text: str, tests: int) -> None:
    page = html.render(many_wheels(60, text=text, tests=tests))
    assert len(page.encode()) <= html.MAX_SIZE
    shown = Page(page).text
    for number in range(60):
        assert f"manylinux_2_{number}_x86_64.whl" in shown
    # What is left out is said.
    assert ("characters omitted" in shown) is (tests > 3)
    assert ("which the JSON report has" in shown) is (tests > 3)


def test_long_names_are_cut() -> None:
    page = html.render(
        Report(
            wheels=(wheel("py3-none-any", targets=(target("cp312", "x", result("t.py::" + "n" * 60_000, "failed")),)),)
        )
    )
    assert len(page) < 40_000


def test_nodes_are_marked_for_the_filter() -> None:
    page = html.render(full_report())
    nodes = re.findall(r'<(\w+) [^>]*data-o="(\w+)"', page)
    assert {state for _, state in nodes} == {"failed", "warning", "skipped", "passed"}
    assert {tag for tag, _ in nodes} >= {"tr", "li"}
    states = re.findall(r'<input type="checkbox" value="(\w+)"', page)
    assert states == ["failed", "warning", "skipped", "passed"]


def test_every_finding_is_explained_once() -> None:
    checks = (result("WHL203-wheel-file", "failed", "no"), result("WHL803-strays", warnings=("tests",)))
    report = Report(wheels=tuple(wheel(f"cp3{number}-cp3{number}-win32", checks=checks) for number in (12, 13)))
    page = Page(html.render(report))
    anchors = [attributes["id"] for tag, attributes in page.elements if tag == "details" and "id" in attributes]
    assert anchors == ["WHL203-wheel-file", "WHL803-strays"]
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert [links.count(f"#{anchor}") for anchor in anchors] == [2, 2]
    assert "wheelcheck checks WHL203" in page.text
    assert "2 of 2 wheels" in page.text


# Tests on all targets -------------------------------------------------------------------------------------------------


def arm(name: str, *results: NodeResult, **more: Any) -> TargetReport:
    return target("cp312", name, *results, **more)


def row_of(*targets: TargetReport) -> Any:
    (row,) = rows(columns(Report(wheels=(wheel("py3-none-any", targets=targets),))))
    return row


def named(outcome: str, seconds: float = 0.1) -> NodeResult:
    return NodeResult(name="t.py::t", outcome=outcome, seconds=seconds)


@pytest.mark.parametrize(
    ("outcomes", "summary", "differs"),
    [
        (("passed",) * 4, "passes on all 4 targets", False),
        (("failed",) * 4, "fails on all 4 targets", False),
        (("passed", "passed", "failed", "failed"), "fails on musl only (2 targets), passes on 2", True),
        (("passed", "failed", "passed", "failed"), "fails on aarch64 only (2 targets), passes on 2", True),
        (("passed", "passed", "passed", "failed"), "fails on cp312-musllinux-aarch64 only, passes on 3", True),
        (("skipped", "failed", "passed", "passed"), "fails on cp312-linux-aarch64 only, passes on 2, skipped on 1", True),
        (("skipped", "failed", "failed", "failed"), "fails on all 3 targets, skipped on 1", False),
        (("passed", "failed", "failed", "passed"),
         "fails on cp312-linux-aarch64, cp312-musllinux-x86_64, passes on 2", True),
    ],
)  # fmt: skip
def test_where_a_test_fails(outcomes: tuple[str, ...], summary: str, differs: bool) -> None:
    names = ("linux-x86_64", "linux-aarch64", "musllinux-x86_64", "musllinux-aarch64")
    row = row_of(*(arm(name, named(outcome)) for name, outcome in zip(names, outcomes, strict=True)))
    assert (row.summary, row.differs) == (summary, differs)


@pytest.mark.parametrize(
    ("seconds", "slow"),
    [((1, 1, 9), 2), ((0.01, 0.01, 0.5), None), ((10, 10, 12), None), ((1, 9, 9), None), ((9, 1), 0), ((1,), None)],
)
def test_a_test_that_is_slow_on_one_target(seconds: tuple[float, ...], slow: int | None) -> None:
    targets = [arm(f"linux-{index}", named("passed", each)) for index, each in enumerate(seconds)]
    row = row_of(*targets)
    assert (row.slow and row.slow.column.target) == (None if slow is None else targets[slow])


def test_an_emulator_is_slow_in_all_tests() -> None:
    def results(factor: float, odd: float) -> list[NodeResult]:
        times = [0.5, 0.6, 0.7, 0.8]
        return [NodeResult(name=f"t.py::t{index}", outcome="passed", seconds=each * factor * (odd if index == 0 else 1))
                for index, each in enumerate(times)]  # fmt: skip

    targets = (arm("a", *results(1, 1)), arm("b", *results(1, 1)), arm("c", *results(10, 6)))
    found = rows(columns(Report(wheels=(wheel("py3-none-any", targets=targets),))))
    assert [row.name for row in found if row.slow] == ["t.py::t0"]


# Commands -------------------------------------------------------------------------------------------------------------


def test_the_command_of_a_node_runs_it_again(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "my dist", "demo", files={"demo.py": ""})
    (pytester.path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.parametrize('p', ['a b', '$(exit 9)'])\ndef test_it(p): assert 0\ndef test_other(): pass\n"
    )
    run_wheels("--wheel", "my dist", "--wheel-select", "WHL1", "--wheel-report=r.html", "test_it.py")
    page = Page((pytester.path / "r.html").read_text())
    found = re.findall(r"^pytest --wheel .*test_it\.py::.*$", page.text, re.MULTILINE)
    assert len(found) == 2
    words = shlex.split(next(line for line in found if "exit 9" in line))
    again = run_output(run_wheels(*words[1:], "-v"))
    assert again.nodes == {"test_it.py::test_it[$(exit 9)]": "FAILED"}
    assert words[-2:] == ["--wheel-select", "WHL1"]


def test_commands_that_are_not_safe_to_paste_are_not_shown() -> None:
    report = Report(options=("--wheel-group", "my tests"))
    one = wheel(
        "py3-none-any", targets=(target("cp312", "linux-aarch64", name="cp312-linux-aarch64+pi", execution="board"),)
    )
    (board,) = one.targets
    assert command(report, one, board, "t.py::t") == (
        f"pytest --wheel {one.path}::{board.name}::t.py::t --wheel-python cp312 --wheel-host pi --wheel-group 'my tests'"
    )
    assert "'t.py::t[; rm -rf $HOME]'" in shlex.join(
        shlex.split(command(report, one, None, "t.py::t[; rm -rf $HOME]"))
    ).replace(f"{one.path}::", "")
    for name in ("t\x1b[201~rm", "t\nrm", "t\u202e", "t" * 1000):
        assert command(report, one, board, name) == ""


# Time -----------------------------------------------------------------------------------------------------------------


def test_the_waterfall_has_a_bar_for_each_step() -> None:
    page = html.render(many_wheels(2))
    bars = re.findall(r'<rect class="s-(\w+)" x="([\d.]+)" y="(\d+)" width="([\d.]+)"', page)
    # The plan, and on each of four targets the checks of its wheel and every step.
    assert len(bars) == 1 + 4 * (1 + len(STEPS))
    assert {name for name, *_ in bars} == set(STEPS)
    assert max(float(x) + float(width) for _, x, _, width in bars) == pytest.approx(1000, abs=1)
    assert {int(y) for _, _, y, _ in bars} == {0, 10, 20}, "steps that overlap are below one another"
    assert "tests 1.50 s" in html_text.unescape(page)
    assert "<h2>Time</h2>" not in html.render(full_report()), "a report of an older version has no times"


# Contents -------------------------------------------------------------------------------------------------------------


def test_the_largest_files_of_a_wheel_and_the_others_by_kind(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"demo/m{number}.py": "x = 1\n" * (50 + number) for number in range(60)}
    files |= {"demo/core.so": random.Random(1).randbytes(9000), "demo.libs/libz.so": random.Random(2).randbytes(5000)}
    files |= {"demo/libq.so.1.2": random.Random(3).randbytes(4000), "demo/table.bin": random.Random(4).randbytes(3000)}
    path = build_wheel(tmp_path / "dist", "demo", files=files)
    found = open_wheel(path, shown=path.name, store=tmp_path / "store").contents
    assert [(entry.path, entry.kind) for entry in found[:4]] == [
        ("demo/core.so", "native"),
        ("demo.libs/libz.so", "library"),
        ("demo/libq.so.1.2", "library"),
        ("demo/table.bin", "data"),
    ]
    assert found[0].size == 9000
    with ZipFile(path) as archive:
        members = archive.infolist()
    assert sum(entry.files for entry in found) == len(members)
    assert sum(entry.size for entry in found) == sum(member.file_size for member in members)
    assert sum(entry.compressed_size for entry in found) == sum(member.compress_size for member in members)
    assert len(found) < 45
    report = Report(wheels=(wheel("py3-none-any", contents=found),))
    page = Page(html.render(report))
    assert "extension modules 9.0" in page.text
    assert "smaller files of the kind Python" in page.text


@given(st.lists(st.floats(min_value=1, max_value=1e9), min_size=1, max_size=60))
def test_rectangles_fill_the_drawing_and_do_not_overlap(sizes: list[float]) -> None:
    sizes.sort(reverse=True)
    boxes = squares(sizes)
    total = sum(sizes)
    for number, (size, (x, y, width, height)) in enumerate(zip(sizes, boxes, strict=True)):
        assert width * height == pytest.approx(260_000 * size / total, rel=1e-3)
        assert -0.01 <= x <= x + width <= 1000.01
        assert -0.01 <= y <= y + height <= 260.01
        for other_x, other_y, other_width, other_height in boxes[:number]:
            apart = x + 0.01 > other_x + other_width or other_x + 0.01 > x + width
            assert apart or y + 0.01 > other_y + other_height or other_y + 0.01 > y + height


def test_a_report_with_lone_surrogates_is_written(tmp_path: Path) -> None:
    paths = [tmp_path / f"r.{extension}" for extension in ("json", "md", "html")]
    write_reports(paths, hostile_report())
    assert all("ud800" in path.read_text(encoding="utf-8") for path in paths)

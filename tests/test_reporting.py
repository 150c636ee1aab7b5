"""What a release must cover, the matrix, and the reports: pure functions of outcomes."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.plugin.options import parse_size
from pytest_wheelcheck.reporting import html, markdown, matrix, terminal
from pytest_wheelcheck.reporting.expect import Given, compare, covers, families, fits, parse
from pytest_wheelcheck.reporting.report import (
    OUTCOMES,
    File,
    Node,
    Outcomes,
    Place,
    Report,
    Untested,
    from_json,
    merge,
    problems,
    to_json,
)


def wheel(*tags: str, name: str = "pkg", file: str = "") -> Given:
    return Given(file=file or f"{name}-1.0-{tags[0]}.whl", name=name, tags=tags)


# The language of --wheel-expect ---------------------------------------------------------------------------------------


def test_every_interpreter_of_a_clause_on_every_platform() -> None:
    found = parse(["cp312-cp314, cp314t: manylinux_x86_64 win_amd64", "# a note", "", "cp39-abi3: macosx_arm64; sdist"])
    assert found.sdist
    assert found.cells == (
        *[("manylinux_x86_64", one) for one in ("cp312", "cp313", "cp314", "cp314t")],
        *[("win_amd64", one) for one in ("cp312", "cp313", "cp314", "cp314t")],
        ("macosx_arm64", "cp39-abi3"),
    )


@pytest.mark.parametrize(
    "clause",
    ["cp312", "cp312:", ": win_amd64", "cp312 win_amd64", "cp314-cp312: win_amd64", "cp312-pp314: win_amd64",
     "cp312-cp314t: win_amd64", "3.12: win_amd64", "cp312: windows", "cp312: manylinux", "cp312: macosx_11_arm64",
     "cp31-cp399: any", "sdists", "cp312: linux"],
)  # fmt: skip
def test_what_is_no_clause_is_refused_with_its_words(clause: str) -> None:
    with pytest.raises(UsageError, match="--wheel-expect"):
        parse([clause])


@given(st.text(alphabet="cp3124-t:abi sdwn_;,\n", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse([text])
    except UsageError:
        return
    assert len(set(found.cells)) == len(found.cells)


@pytest.mark.parametrize(
    ("tag", "interpreter", "covered"),
    [
        ("cp312-cp312-win_amd64", "cp312", True),
        ("cp312-cp312-win_amd64", "cp313", False),
        ("cp314-cp314t-win_amd64", "cp314", False),
        ("cp314-cp314t-win_amd64", "cp314t", True),
        ("cp314-cp314-win_amd64", "cp314t", False),
        ("cp37-cp37m-win_amd64", "cp37", True),
        ("cp39-abi3-win_amd64", "cp312", True),
        ("cp39-abi3-win_amd64", "cp38", False),
        ("cp39-abi3-win_amd64", "cp314t", False),
        ("cp315-abi3t-win_amd64", "cp315t", True),
        ("cp315-abi3t-win_amd64", "cp316", True),
        ("cp39-abi3-win_amd64", "abi3", True),
        ("cp39-abi3-win_amd64", "cp39-abi3", True),
        ("cp39-abi3-win_amd64", "cp310-abi3", False),
        ("cp315-abi3t-win_amd64", "abi3", False),
        ("cp312-cp312-win_amd64", "abi3", False),
        ("py3-none-win_amd64", "cp312", True),
        ("py3-none-win_amd64", "py3", True),
        ("py2-none-win_amd64", "cp312", False),
        ("py310-none-win_amd64", "cp312", True),
        ("py313-none-win_amd64", "cp312", False),
        ("cp312-none-win_amd64", "cp312", True),
        ("cp311-none-win_amd64", "cp312", False),
        ("pp311-pypy311_pp73-win_amd64", "pp311", True),
        ("pp311-pypy311_pp73-win_amd64", "cp311", False),
        ("cp311-cp311-win_amd64", "pp311", False),
        ("cp39-abi3-win_amd64", "pp311", False),
        ("py3-none-any", "cp312", False),
    ],
)
def test_which_wheels_are_for_an_interpreter(tag: str, interpreter: str, covered: bool) -> None:
    assert covers(wheel(tag), ("win_amd64", interpreter)) is covered


@pytest.mark.parametrize(
    ("have", "wanted", "fitting"),
    [
        ("manylinux2014_x86_64", "manylinux_x86_64", True),
        ("manylinux_2_28_x86_64", "manylinux_x86_64", True),
        ("manylinux_2_28_x86_64", "manylinux_2_28_x86_64", True),
        ("manylinux2014_x86_64", "manylinux_2_28_x86_64", True),
        ("manylinux2014_x86_64", "manylinux_2_12_x86_64", False),
        ("manylinux_2_28_x86_64", "manylinux_aarch64", False),
        ("manylinux_2_28_x86_64", "musllinux_x86_64", False),
        ("linux_x86_64", "manylinux_x86_64", False),
        ("linux_armv7l", "linux_armv7l", True),
        ("macosx_11_0_arm64", "macosx_arm64", True),
        ("macosx_10_9_universal2", "macosx_arm64", True),
        ("macosx_10_9_universal2", "macosx_10_13_x86_64", True),
        ("macosx_10_9_universal2", "macosx_universal2", True),
        ("macosx_11_0_arm64", "macosx_universal2", False),
        ("any", "win_amd64", False),
        ("any", "any", True),
        ("win32", "win_amd64", False),
    ],
)
def test_which_tags_are_for_a_platform(have: str, wanted: str, fitting: bool) -> None:
    assert fits(have, wanted) is fitting


def test_the_families_of_tags() -> None:
    tags = ["manylinux1_i686", "manylinux_2_28_x86_64", "macosx_10_9_universal2", "win_amd64", "any", "linux_armv7l"]
    assert [family for tag in tags for family in families(tag)] == [
        "manylinux_i686", "manylinux_x86_64", "macosx_x86_64", "macosx_arm64", "win_amd64", "any", "linux_armv7l",
    ]  # fmt: skip


def test_every_missing_and_every_unexpected_wheel_is_named() -> None:
    found = compare(
        parse(["cp312-cp313: manylinux_x86_64 win_amd64; sdist"]),
        [
            wheel("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-manylinux2014_x86_64"),
            wheel("cp313-cp313-win_amd64"),
            wheel("cp311-cp311-macosx_10_9_universal2"),
        ],
    )
    assert found.missing == ("cp313 on manylinux_x86_64", "cp312 on win_amd64", "the sdist")
    assert found.missing_cells == (("manylinux_x86_64", "cp313"), ("win_amd64", "cp312"))
    (unexpected,) = found.unexpected
    assert unexpected.endswith("(cp311 on macosx_x86_64, cp311 on macosx_arm64)")


def test_each_project_must_have_it_all() -> None:
    files = [wheel("py3-none-any", name="a"), Given(file="b-1.tar.gz", name="b")]
    found = compare(parse(["py3: any"]), files)
    assert found.missing == ("b: py3 on any",)
    assert found.unexpected == ("b-1.tar.gz (an sdist)",)
    assert compare(parse(["py3: any; sdist"]), []).missing == ("py3 on any", "the sdist")


@pytest.mark.parametrize(
    ("text", "size"), [("100", 100), ("1 MB", 10**6), ("1.5KiB", 1536), ("2gib", 2 << 30), ("7b", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "0", "5 apples", "nan", "inf", "1 MM"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - it says what the text was
        parse_size(text)


# Outcomes -------------------------------------------------------------------------------------------------------------


def told(*reports: tuple[str, str], expected: bool = False) -> str:
    seen = Outcomes()
    for when, outcome in reports:
        seen.add("w::n", when=when, outcome=outcome, expected=expected, text=f"{when} {outcome}", seconds=1.0)
    nodes = seen.below("w::")
    return nodes[0].outcome if nodes else ""


def test_how_a_node_ended() -> None:
    assert told(("setup", "passed"), ("call", "passed"), ("teardown", "passed")) == "passed"
    assert told(("setup", "passed"), ("call", "failed"), ("teardown", "passed")) == "failed"
    assert told(("setup", "failed"), ("teardown", "passed")) == "error"
    assert told(("setup", "passed"), ("call", "passed"), ("teardown", "failed")) == "error"
    assert told(("setup", "passed"), ("call", "failed"), ("teardown", "failed")) == "failed"
    assert told(("setup", "skipped"), ("teardown", "passed")) == "skipped"
    assert told(("setup", "passed"), ("call", "rerun"), ("call", "passed")) == "passed"
    assert told(("setup", "passed"), ("teardown", "passed")) == ""
    assert told(("call", "skipped"), expected=True) == "xfailed"
    assert told(("call", "passed"), expected=True) == "xpassed"


def node(name: str, outcome: str = "passed", text: str = "", warnings: tuple[str, ...] = ()) -> Node:
    return Node(name=name, outcome=outcome, text=text, warnings=warnings)


def test_exclusions_for_pseudo_terminals_are_told_from_other_skips() -> None:
    assert node("t", "skipped", "needs a pseudo-terminal, which cp313 on win32 does not have").excluded_for_pty
    assert node("t", "skipped", "needs the module 'termios', which cp313 on win32 does not have").excluded_for_pty
    assert not node("t", "skipped", "needs the module 'numpy', which is slow").excluded_for_pty
    assert not node("t", "failed", "needs a pseudo-terminal, which cp313 on win32 does not have").excluded_for_pty


# The matrix -----------------------------------------------------------------------------------------------------------


def place(interpreter: str, platform: str, *nodes: Node, **more: str) -> Place:
    system = "win32" if platform.startswith("win") else "linux"
    libc = "" if system == "win32" else "musl" if platform.startswith("musl") else "glibc"
    architecture = platform.partition("-")[2]
    words = {"name": f"{interpreter}-{platform}", "system": system, "libc": libc, "architecture": architecture} | more
    return Place(interpreter=interpreter, platform=platform, nodes=nodes, **words)


def file(*tags: str, sha256: str = "", **more: Any) -> File:
    name = f"pkg-1.0-{tags[0]}.whl"
    words: dict[str, Any] = {"checks": (node("WHL101-zip"),)} | more
    return File(
        shown=f"dist/{name}", file=name, sha256=sha256 or name, name="pkg", version="1.0", tags=tags, **words
    )  # fmt: skip


GOOD = (node("install"), node("import[pkg]"), node("tests/test_a.py::test_a"))
NO_PTY = node("tests/t.py::test_pty", "skipped", "needs a pseudo-terminal, which cp313 on win32 does not have")


def full_report() -> Report:
    return Report(
        program="pytest-wheelcheck 1",
        expect=("cp312-cp313: manylinux_x86_64",),
        release=(node("expect", "failed", "the release is not …\nmissing: <cp313>"), node("pythons", warnings=("a & b",))),
        files=(
            file("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-manylinux2014_x86_64",
                 places=(place("cp312", "linux-x86_64", *GOOD),)),
            file("cp312-cp312-manylinux_2_17_aarch64",
                 places=(
                     place("cp312", "linux-aarch64", *GOOD, how="emulated", machine="aarch64"),
                     place("cp312", "linux-aarch64", *GOOD[:2], how="emulated", machine="rpi5", name="cp312-linux-aarch64+rpi5"),
                     place("cp312", "linux-aarch64", *GOOD, node("tests/b.py::test_b", "failed", "assert 1 == 2"),
                           how="board", machine="pi.local"),
                 )),
            file("cp313-cp313-win_amd64", checks=(node("WHL501-x", "failed", "WHL501: no"), node("WHL801-y", warnings=("big",))),
                 places=(place("cp313", "win_amd64", *GOOD, NO_PTY, how="emulated", machine="wine"),)),
            file("cp39-abi3-macosx_10_9_universal2", checks=(node("WHL101-zip", "skipped", "not here"),),
                 untested=(Untested(name="no-target", outcome="skipped", reason="needs macOS"),)),
        ),
    )  # fmt: skip


def cells(report: Report, missing: tuple[tuple[str, str], ...] = ()) -> dict[tuple[str, str], list[str]]:
    return {(row.platform, row.interpreter): [mark.text for mark in row.marks] for row in matrix.rows(report, missing)}


def test_the_matrix_tells_what_was_built_checked_and_tested_where() -> None:
    found = cells(full_report(), (("manylinux_x86_64", "cp313"),))
    assert found == {
        ("manylinux_aarch64", "cp312"): [
            "yes", "passed", "", "1 passed (aarch64); installed and imported (rpi5)", "1 failed, 1 passed (pi.local)", "",
        ],
        ("manylinux_x86_64", "cp312"): ["yes", "passed", "1 passed", "", "", ""],
        ("manylinux_x86_64", "cp313"): ["missing", "", "", "", "", ""],
        ("macosx_arm64", "cp39-abi3"): ["yes", "skipped", "", "", "", ""],
        ("macosx_x86_64", "cp39-abi3"): ["yes", "skipped", "", "", "", ""],
        ("win_amd64", "cp313"): ["yes", "1 failed", "", "1 passed (wine)", "", "1 test"],
    }  # fmt: skip


def test_a_wheel_of_the_stable_abi_stands_in_a_row_for_each_interpreter_that_ran_it() -> None:
    tested = file("cp39-abi3-manylinux_2_17_x86_64", "cp39-abi3-musllinux_1_2_x86_64",
                  places=(place("cp39", "linux-x86_64", *GOOD), place("cp314", "musllinux-x86_64", *GOOD[:1])))  # fmt: skip
    assert cells(Report(files=(tested,))) == {
        ("manylinux_x86_64", "cp39-abi3"): ["yes", "passed", "1 passed (cp39)", "", "", ""],
        ("musllinux_x86_64", "cp39-abi3"): ["yes", "passed", "installed and imported (cp314)", "", "", ""],
    }


@pytest.mark.parametrize(
    ("nodes", "state"),
    [
        ((), "no"),
        ((node("install", "failed"),), "failed"),
        ((node("install", "error"),), "failed"),
        ((node("install"), node("t.py::t", "skipped")), "imported"),
        ((node("t.py::t", "skipped"),), "skipped"),
        ((node("install"), node("t.py::t", "xfailed")), "passed"),
        ((node("install"), node("t.py::t", "failed"), node("t.py::u")), "failed"),
    ],
)
def test_nothing_counts_as_tested_but_tests(nodes: tuple[Node, ...], state: str) -> None:
    assert matrix.place_state(place("cp312", "linux-x86_64", *nodes))[0] == state


def test_classifiers_and_requires_python_against_what_is_covered() -> None:
    def some(*minors: int, classifiers: tuple[int, ...] = (), requires: str | None = None) -> list[str]:
        names = tuple(f"Programming Language :: Python :: 3.{minor}" for minor in classifiers)
        return matrix.metadata_warnings(
            [file(f"cp3{m}-cp3{m}-win_amd64", classifiers=names, requires_python=requires) for m in minors]
        )

    assert some(12, 13, classifiers=(12, 13), requires=">=3.12") == []
    assert some(12, 13) == []
    assert some(12, 13, classifiers=(11, 12)) == [
        "the classifiers name 3.11, for which there is no wheel",
        "there are wheels for 3.13, which the classifiers do not name",
    ]
    assert some(12, 13, requires=">=3.10") == ["Requires-Python is >=3.10, and there is no wheel for 3.10, 3.11"]
    assert some(12, requires="!!") == some(12, requires=">=3") == []
    assert matrix.metadata_warnings([file("cp39-abi3-win_amd64", requires_python=">=3.8")]) == []


# Forms ----------------------------------------------------------------------------------------------------------------


def test_json_is_read_as_it_was_written() -> None:
    report = full_report()
    assert from_json(to_json(report), source="x") == report
    data = json.loads(to_json(report))
    assert (data["format"], data["format_version"]) == ("pytest-wheelcheck", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: "no json", "is no report"),
        (lambda _: "[]", "is no report"),
        (lambda data: json.dumps({**data, "format": "junit"}), "is no report"),
        (lambda data: json.dumps({**data, "format_version": 2}), "has form 2"),
        (lambda data: json.dumps({**data, "files": [{}]}), "is damaged"),
        (lambda data: json.dumps({**data, "release": [{**data["release"][0], "outcome": "fine"}]}), "is damaged"),
    ],
)
def test_what_is_no_report_is_refused(change: object, words: str) -> None:
    data = json.loads(to_json(full_report()))
    with pytest.raises(UsageError, match=words):
        from_json(change(data), source="x.json")  # type: ignore[operator]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_needs_nothing_else_and_is_well_formed() -> None:
    page = _Page()
    text = html.render(full_report(), (("manylinux_x86_64", "cp313"),))
    page.feed(text)
    page.close()
    assert page.open == page.links == []
    assert "<script" not in text
    assert "url(" not in text
    for words in ("missing: <cp313>", "a & b", "1 passed (aarch64)", "needs macOS", "WHL501: no", "assert 1 == 2"):
        assert words in page.text


def test_markdown_tells_the_same() -> None:
    text = markdown.render(full_report(), (("manylinux_x86_64", "cp313"),))
    assert "| manylinux_x86_64 | cp312 | yes | ✓ passed | ✓ 1 passed |  |  |  |" in text
    assert "|  | cp313 | ✗ missing |" in text
    assert "missing: \\<cp313\\>" in text
    assert "not run: needs macOS" in text
    assert text.startswith("# Wheels: pkg 1.0\n\n4 wheels, 5 targets: 3 failed.\n")
    assert "interrupted" in markdown.render(replace(full_report(), complete=False))


def test_the_terminal_leaves_out_columns_in_which_nothing_stands() -> None:
    lines = terminal.matrix_lines(matrix.rows(Report(files=full_report().files[:1])))
    assert lines == [
        ("platform          interpreter  built  checked  tested natively", {"bold": True}),
        ("manylinux_x86_64  cp312        yes    passed   1 passed", {"green": True}),
    ]
    assert terminal.matrix_lines(()) == []
    markup = [markup for _, markup in terminal.matrix_lines(matrix.rows(full_report()))][1:]
    assert markup == [{"red": True}, {"green": True}, {"yellow": True}, {"yellow": True}, {"red": True}]


# Merging --------------------------------------------------------------------------------------------------------------


def on(host: str, found: File, *checks: Node, places: tuple[Place, ...] = (), missing: str = "") -> Report:
    untested = (Untested(name="no-target", outcome="skipped", reason=missing, host=host),) if missing else ()
    located = tuple(replace(one, host=host) for one in places)
    return Report(files=(replace(found, checks=checks, places=located, untested=untested),))


ONE = file("cp313-cp313-win_amd64", sha256="a")


def test_reports_of_several_hosts_are_joined_by_digest() -> None:
    linux = on("linux", ONE, node("WHL301", warnings=("x",)), node("WHL302", "failed"), missing="needs Windows")
    windows = on("win", ONE, node("WHL301", "skipped"), node("WHL302"), places=(place("cp313", "win_amd64", *GOOD),))
    for both in ([linux, windows], [windows, linux]):
        (found,) = merge(both).files
        assert {one.name: one.outcome for one in found.checks} == {"WHL301": "passed", "WHL302": "failed"}
        assert next(one for one in found.checks if one.name == "WHL301").warnings == ("x",)
        assert [one.host for one in found.places] == ["win"]
    assert cells(merge([linux, windows]))["win_amd64", "cp313"][2] == "1 passed"


def test_shards_of_one_target_are_one_target() -> None:
    first = on("h", ONE, places=(place("cp313", "win_amd64", *GOOD),))
    second = on("h", ONE, places=(place("cp313", "win_amd64", node("tests/test_b.py::test_b", "failed")),))
    (found,) = merge([first, second]).files
    assert [len(one.nodes) for one in found.places] == [4]
    other = on("other", ONE, places=(place("cp313", "win_amd64", *GOOD),))
    assert len(merge([first, other]).files[0].places) == 2


def test_the_same_name_with_another_content_is_a_problem() -> None:
    found = merge([on("a", ONE, *GOOD[:1]), on("b", replace(ONE, sha256="b"), *GOOD[:1])])
    assert len(found.files) == 2
    assert any("2 files of this name differ" in line for line in problems(found))


def test_what_fails_a_merged_report() -> None:
    sound = on("a", ONE, node("WHL301"), places=(place("cp313", "win_amd64", *GOOD),))
    assert problems(sound) == problems(sound, strict=True) == []
    skipped = on("a", ONE, node("WHL301"), missing="needs Windows")
    assert problems(skipped) == []
    assert problems(skipped, strict=True) == [f"{ONE.shown}: not run anywhere (needs Windows)"]
    only_skips = on("a", ONE, node("WHL301"), places=(place("cp313", "win_amd64", node("t.py::t", "skipped")),))
    assert problems(only_skips, strict=True) == [f"{ONE.shown}: not run anywhere"]
    assert problems(replace(sound, complete=False)) == ["a run was interrupted before its end"]
    failed = on("a", ONE, node("WHL301", "failed", "WHL301: bad\nmore"))
    assert problems(failed) == [f"{ONE.shown}::WHL301: failed: WHL301: bad"]
    nothing = on("a", ONE, places=(place("cp313", "win_amd64"),))
    assert problems(nothing) == [f"{ONE.shown}::cp313-win_amd64: nothing was run on a"]
    assert problems(Report(files=(ONE, replace(ONE, checks=(), sha256="a")))) == [
        f"{ONE.shown}: nothing is known of it"
    ]


def test_a_wheel_that_failed_for_being_untested_is_mended_by_a_host_that_ran_it() -> None:
    failed = replace(ONE, untested=(Untested(name="no-target", outcome="failed", reason="needs Windows"),))
    ran = replace(ONE, places=(place("cp313", "win_amd64", *GOOD),))
    assert problems(merge([Report(files=(failed,))]))
    assert problems(merge([Report(files=(failed,)), Report(files=(ran,))]), strict=True) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(OUTCOMES)), max_size=8))
def test_no_order_of_merging_hides_a_failure(nodes: list[tuple[str, str]]) -> None:
    reports = [on("h", ONE, node(name, outcome)) for name, outcome in nodes]
    forward, backward = merge(reports), merge(reports[::-1])
    assert bool(problems(forward)) == bool(problems(backward)) == any(o in {"failed", "error"} for _, o in nodes)

"""`--wheel-shard 2/5`: several runs divide the targets of a release, and their merged reports are that of one run."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.cli.main import main
from pytest_wheelcheck.reporting.report import NodeResult, Report, ShardReport, WheelReport, to_json
from pytest_wheelcheck.targets.planning.shards import Deal

MINOR = sys.version_info[1]
#: Every wheel for any interpreter has two targets.
PYTHONS = f"--wheel-python=3.{MINOR - 1},3.{MINOR}"
STATIC = ("--wheel=dist", "--wheel-static", "--wheel-select=WHL101")

Merge = Callable[..., tuple[int, str]]


@pytest.fixture
def merge(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Merge:
    """Merge reports; return the exit status and the output."""
    monkeypatch.chdir(pytester.path)

    def run(*args: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["merge", *args])
        return code, capsys.readouterr().out

    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def nodes(report: Any) -> Counter[tuple[str, str]]:
    """Return the id and the outcome of each node of a report."""
    found = [(f"release::{each['name']}", each["outcome"]) for each in report["release"]]
    for wheel in report["wheels"]:
        below = [*wheel["checks"], *wheel["not_run"]]
        below += [
            each | {"name": f"{target['name']}::{each['name']}"}
            for target in wheel["targets"]
            for each in target["results"]
        ]
        found += [(f"{wheel['path']}::{each['name']}", each["outcome"]) for each in below]
    return Counter(found)


# Which shard has a target ---------------------------------------------------------------------------------------------

PLATFORMS = ("manylinux_2_17_aarch64", "manylinux_2_17_x86_64.manylinux2014_x86_64", "musllinux_1_2_x86_64",
             "musllinux_1_2_aarch64", "win_amd64")  # fmt: skip
RELEASE = [f"pkg-1.0-cp3{minor}-cp3{minor}-{platform}.whl" for minor in range(10, 15) for platform in PLATFORMS]


def target_of(filename: str) -> str:
    _, _, interpreter, _, platform = filename.split("-")
    system = "win" if "win" in platform else "musllinux" if "musl" in platform else "linux"
    return f"{interpreter}-{system}-{'aarch64' if 'aarch64' in platform else 'x86_64'}"


def unevenness(shards: Iterable[int], total: int) -> int:
    """Return by how many the largest part has more than the smallest."""
    counts = Counter(shards)
    return max(counts.values()) - min(counts[number] for number in range(total))


@pytest.mark.parametrize("total", range(2, 8))
def test_every_shard_has_as_many_targets_as_the_others(total: int) -> None:
    deal = Deal(RELEASE)
    shards = {name: deal.position(name, target_of(name)) % total for name in RELEASE}
    assert unevenness(shards.values(), total) <= 1
    # The emulated ones are slow.
    assert unevenness((shard for name, shard in shards.items() if "aarch64" in name), total) <= 1
    anything = "pkg-1.0-py3-none-any.whl"
    versions = [f"cp3{minor}-linux-x86_64" for minor in range(9, 16)]
    assert unevenness((Deal([anything]).position(anything, name) % total for name in versions), total) <= 1


def test_the_shard_depends_on_names_only() -> None:
    """Not on the order of the wheels, nor on the process. Another release of this package deals them out in the same way."""
    stable = "pkg-1.0-cp39-abi3-win_amd64.whl"
    first, second = Deal([*RELEASE, stable]), Deal([stable, *reversed(RELEASE), *RELEASE])
    names = ("", "no-target", "cp39-win_amd64", "cp314-win_amd64", "cp314-win_amd64+rpi5", "pp311-win_amd64")
    assert [first.position(stable, name) for name in names] == [second.position(stable, name) for name in names]
    assert [first.position(stable, name) % 5 for name in names] == [0, 0, 0, 0, 1, 2]


def test_a_file_that_is_no_wheel_has_a_shard() -> None:
    deal = Deal(["x.whl", "-.whl", "pkg-1.0-py3-none-any.whl"])
    assert sorted(map(deal.position, ("x.whl", "-.whl", "pkg-1.0-py3-none-any.whl"))) == [0, 1, 2]


# Runs -----------------------------------------------------------------------------------------------------------------


def test_shards_are_together_one_run(pytester: pytest.Pytester, run_wheels: Run, merge: Merge) -> None:
    """Two interpreters; wheels that pass, that fail, that no host here can run, that must not be installed, and no wheel."""
    dist = pytester.path / "dist"
    build_wheel(dist, "one", files={"one.py": "", "broken.py": "import nothing_at_all\n"})
    build_wheel(dist, "mac", files={"mac.py": ""}, tags=("cp311-cp311-macosx_11_0_arm64",))
    build_wheel(dist, "unsafe", files={"unsafe.py": ""}, record="")
    (dist / "bad-1.0-py3-none-any.whl").write_bytes(b"no archive")
    pytester.makepyfile(test_it="import pytest\n\n@pytest.mark.parametrize('n', [0, 1])\ndef test_it(n): assert n\n")
    args = ("--wheel=dist", PYTHONS, "--wheel-select=WHL1,WHL2", "--wheel-expect=py3: any", "test_it.py")
    whole = run_wheels(*args, "--wheel-report=whole.json")
    for number in (1, 2, 3):
        # The second one has workers of xdist.
        shard = run_wheels(
            *args, f"--wheel-shard={number}/3", f"--wheel-report={number}.json", *["-n2"] * (number == 2)
        )
        assert shard.ret == pytest.ExitCode.TESTS_FAILED
        if number != 2:
            shard.stdout.fnmatch_lines([f"shard {number} of 3: * of 4 targets, static checks of * of 4 wheels"])
    assert whole.ret == pytest.ExitCode.TESTS_FAILED

    expected = read(pytester.path / "whole.json")
    shards = [read(pytester.path / f"{number}.json") for number in (1, 2, 3)]
    assert set(nodes(expected).values()) == {1}
    assert sum(map(nodes, shards), Counter()) == nodes(expected)
    assert (
        unevenness(
            (number for number, shard in enumerate(shards) for wheel in shard["wheels"] for _ in wheel["targets"]), 3
        )
        <= 1
    )
    assert expected["shards"] == []
    assert [shard["shards"][0]["shard"] for shard in shards] == ["1/3", "2/3", "3/3"]
    # One finding, and nothing was installed.
    outcomes = {name: outcome for name, outcome in nodes(expected) if "unsafe" in name and outcome != "passed"}
    assert sorted(name.rpartition("::")[2] for name in outcomes) == ["WHL121-record", "install", "install"]

    code, out = merge("1.json", "2.json", "3.json", "--wheel-report=all.json")
    assert code == 1
    assert nodes(read(pytester.path / "all.json")) == nodes(expected)
    assert "is missing" not in out
    assert len(out.splitlines()) == 1 + len(merge("whole.json")[1].splitlines())


def test_a_wheel_that_runs_in_another_shard_satisfies_strict(
    pytester: pytest.Pytester, run_wheels: Run, merge: Merge
) -> None:
    """One that runs in no shard fails in one of them, and in the merged report."""
    dist = pytester.path / "dist"
    build_wheel(dist, "one", files={"one.py": ""})
    # The interpreter that it is not for is reported in another shard than its target.
    build_wheel(dist, "own", files={"own.py": ""}, tags=(f"cp3{MINOR}-none-any",))
    mac = build_wheel(dist, "mac", files={"mac.py": ""}, tags=("cp311-cp311-macosx_11_0_arm64",))

    def run() -> list[int]:
        args = ("--wheel=dist", PYTHONS, "--wheel-select=WHL101", "--wheel-strict")
        return [
            int(run_wheels(*args, f"--wheel-shard={number}/2", f"--wheel-report={number}.json").ret)
            for number in (1, 2)
        ]

    assert 1 in run()
    code, out = merge("1.json", "2.json", "--wheel-strict")
    assert code == 1
    assert "mac-1.0-cp311-cp311-macosx_11_0_arm64.whl: not run anywhere" in out
    mac.unlink()
    assert run() == [0, 0]
    assert merge("1.json", "2.json", "--wheel-strict")[0] == 0


def test_the_release_is_judged_in_the_first_shard(pytester: pytest.Pytester, run_wheels: Run, merge: Merge) -> None:
    """All files are there, so nothing of another shard is missing."""
    for name in ("one", "two"):
        build_wheel(pytester.path / "dist", name, tags=("cp312-cp312-win_amd64",), files={f"{name}.py": ""})

    def run(expect: str) -> list[int]:
        return [
            int(run_wheels(*STATIC, expect, f"--wheel-shard={number}/2", f"--wheel-report={number}.json").ret)
            for number in (1, 2)
        ]

    assert run("--wheel-expect=cp312: win_amd64") == [0, 0]
    assert merge("1.json", "2.json")[0] == 0
    assert run("--wheel-expect=cp312-cp313: win_amd64") == [1, 0]
    code, out = merge("1.json", "2.json")
    assert code == 1
    assert "missing: one: cp313 on win_amd64" in out


def test_a_shard_without_anything_to_test_passes(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "one", files={"one.py": ""})
    for args in ((), ("-n1",)):
        empty = run_wheels(*STATIC, "--wheel-shard=2/2", *args)
        assert empty.ret == pytest.ExitCode.OK
    assert run_wheels(*STATIC, "--wheel-shard=1/2", "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_node_ids_select_within_the_shard(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """An id of another shard is no mistake, but one that no shard has is one where it would be."""
    one, two = (build_wheel(pytester.path / "dist", name, files={f"{name}.py": ""}).name for name in ("one", "two"))
    ids = [f"dist/{name}::WHL101-zip" for name in (one, two)]
    for number, name in ((1, one), (2, two)):
        ran = run_wheels(*STATIC, f"--wheel-shard={number}/2", "-v", *ids)
        ran.stdout.fnmatch_lines([f"dist/{name}::WHL101-zip PASSED*"])
        ran.assert_outcomes(passed=1)
    for number, code in ((1, pytest.ExitCode.USAGE_ERROR), (2, pytest.ExitCode.NO_TESTS_COLLECTED)):
        assert run_wheels(*STATIC, f"--wheel-shard={number}/2", f"dist/{one}::WHL101-zap").ret == code


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0/5", "there is no shard 0 of 5"),
        ("6/5", "there is no shard 6 of 5"),
        ("0/0", "not of the form NUMBER/COUNT"),
        ("x", "not of the form NUMBER/COUNT"),
        ("", "not of the form NUMBER/COUNT"),
    ],
)
def test_invalid_shards_are_usage_errors(pytester: pytest.Pytester, run_wheels: Run, value: str, message: str) -> None:
    build_wheel(pytester.path / "dist", "one", files={"one.py": ""})
    ran = run_wheels(*STATIC, f"--wheel-shard={value}")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([f"ERROR: --wheel-shard {value}: {message}", "Fix: pass *"])


# Reports that are no whole run ----------------------------------------------------------------------------------------


WHEELS = tuple(
    WheelReport(path=f"dist/{name}", filename=name, sha256=name * 2)
    for name in (f"{project}-1.0-py3-none-any.whl" for project in ("one", "two", "three"))
)
FILES = tuple(f"{wheel.filename} {wheel.sha256}" for wheel in WHEELS)


@pytest.fixture
def reports(pytester: pytest.Pytester) -> list[str]:
    """The reports of three shards, each with the checks of one wheel, and of a run that was not divided."""
    check = NodeResult(name="WHL101-zip", outcome="passed")
    checked = [replace(wheel, checks=(check,)) for wheel in WHEELS]
    for number, own in enumerate(checked, 1):
        wheels = tuple(own if own.path == wheel.path else wheel for wheel in WHEELS)
        shard = ShardReport(shard=f"{number}/3", host="linux-x86_64", files=FILES)
        write(pytester.path / f"{number}.json", Report(wheels=wheels, shards=(shard,)))
    write(pytester.path / "whole.json", Report(wheels=tuple(checked)))
    return ["1.json", "2.json", "3.json"]


def write(path: Path, report: Report) -> None:
    path.write_text(to_json(report), encoding="utf-8")


def change(path: Path, **changes: Any) -> None:
    """Change what a report says about its shard."""
    report = read(path)
    report["shards"][0] |= changes
    path.write_text(json.dumps(report), encoding="utf-8")


def test_shards_that_are_missing_or_there_twice_fail(reports: list[str], merge: Merge) -> None:
    first, second, third = reports
    assert merge(*reports)[0] == 0
    code, out = merge(first, second, "--wheel-report=part.json")
    assert code == 1
    assert "shard 3 of 3 is missing: pass its report" in out.splitlines()
    # A merged report keeps its shards.
    assert merge("part.json", third)[0] == 0
    code, out = merge("part.json", second, third)
    assert code == 1
    assert "shard 2 of 3 is there 2 times: pass one report of each shard" in out.splitlines()


def test_the_shards_of_each_host_are_counted(pytester: pytest.Pytester, reports: list[str], merge: Merge) -> None:
    """Another host may have run everything, or other shards."""
    assert merge("whole.json", *reports)[0] == 0
    change(pytester.path / "3.json", host="other-host")
    code, out = merge("whole.json", *reports)
    assert code == 1
    missing = [line for line in out.splitlines() if "is missing" in line]
    assert missing[1:] == [f"shard {number} of 3 on other-host is missing: pass its report" for number in (1, 2)]


def test_shards_with_different_wheels_fail(pytester: pytest.Pytester, run_wheels: Run, merge: Merge) -> None:
    """One was built again, and one is new."""
    dist = pytester.path / "dist"
    for name in ("one", "two"):
        build_wheel(dist, name, files={f"{name}.py": ""})
    run_wheels(*STATIC, "--wheel-shard=1/2", "--wheel-report=1.json")
    build_wheel(dist, "two", files={"two.py": "# changed\n"})
    build_wheel(dist, "new", files={"new.py": ""})
    run_wheels(*STATIC, "--wheel-shard=2/2", "--wheel-report=2.json")
    code, out = merge("1.json", "2.json")
    assert code == 1
    names = "new-1.0-py3-none-any.whl, two-1.0-py3-none-any.whl"
    assert (
        f"shards 1/2 and 2/2 were given different wheels ({names}): give every shard the same files, and run them again"
    ) in out.splitlines()


def test_a_target_that_no_shard_has_run_fails(pytester: pytest.Pytester, reports: list[str], merge: Merge) -> None:
    """One host has an interpreter that the host of the target's shard lacks."""
    change(pytester.path / "2.json", elsewhere=["one-1.0-py3-none-any.whl::cp399-linux-x86_64"])
    code, out = merge(*reports)
    assert code == 1
    assert "one-1.0-py3-none-any.whl::cp399-linux-x86_64: one shard left it to another one, which has no" in out


def test_a_damaged_shard_fails(pytester: pytest.Pytester, reports: list[str], merge: Merge) -> None:
    change(pytester.path / "2.json", shard="two")
    code, out = merge(*reports)
    assert code == 1
    assert "'two' is not a shard: the report is damaged" in out.splitlines()

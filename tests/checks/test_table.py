from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from checks.samples import DEFECTIVE, SOUND
from pytest_wheelcheck.checks import CHECKS, CheckResult, run_checks, run_container_checks
from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.model import Outcome, Severity, Wheel
from pytest_wheelcheck.wheels.reader import open_wheel

#: auditwheel cannot be installed on Windows.
IMPOSSIBLE = {"WHL301"} if sys.platform == "win32" else set[str]()


def opened(path: Path, tmp_path: Path) -> Wheel:
    return open_wheel(path, shown=f"{path.parent.name}/{path.name}", store=tmp_path / "store")


def codes(results: list[CheckResult]) -> set[str]:
    return {result.check.code for result in results if result.findings or result.error}


def describe(results: list[CheckResult]) -> str:
    return "\n".join(f"{r.check.name}: {r.error or [f.message for f in r.findings]}" for r in results if codes([r]))


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_wheel_has_no_findings(tmp_path: Path, kind: str) -> None:
    wheel = opened(SOUND[kind](tmp_path / "dist"), tmp_path)
    results = run_checks(wheel, release=[wheel])
    assert codes(results) == set(), describe(results)
    assert all(_passed(result) and not result.stops_install for result in results)


def _passed(result: CheckResult) -> bool:
    return result.outcome is (Outcome.SKIPPED if result.check.code in IMPOSSIBLE else Outcome.PASSED)


@pytest.mark.parametrize("code", sorted(DEFECTIVE.keys() - IMPOSSIBLE))
def test_a_defect_causes_its_code_and_no_other(tmp_path: Path, code: str) -> None:
    sample = DEFECTIVE[code]
    made = sample.make(tmp_path / "dist")
    path, *others = made if isinstance(made, list) else [made]
    if sample.opens:
        wheel = opened(path, tmp_path)
        release = [wheel, *(opened(other, tmp_path) for other in others)]
        stopping: list[tuple[str, ...]] = []
        results = run_checks(wheel, release=release, max_size=sample.max_size, on_stopping=stopping.append)
        assert stopping == [tuple(found.check.name for found in results if found.stops_install)]
    else:
        with pytest.raises(WheelError):
            opened(path, tmp_path)
        results = run_container_checks(path)
    assert codes(results) == ({code} | sample.also) - IMPOSSIBLE, describe(results)
    (result,) = (result for result in results if result.check.code == code)
    wanted = Outcome.FAILED if result.check.severity is Severity.ERROR else Outcome.PASSED
    assert result.outcome is wanted
    assert result.stops_install == result.check.stops_install
    for finding in result.findings:
        assert finding.message
        assert (finding.code, finding.fix) == (code, result.check.fix)
        # WHL301 gives the one of its reasons that fits.
        assert finding.reason == result.check.reason or (code == "WHL301" and finding.reason)


def test_every_check_has_a_defective_wheel() -> None:
    assert list(DEFECTIVE) == [check.code for check in CHECKS]


def test_every_check_applies_to_some_sound_wheel(tmp_path: Path) -> None:
    ran = {
        check.code
        for kind, make in SOUND.items()
        for wheel in [opened(make(tmp_path / kind), tmp_path)]
        for check in CHECKS
        if check.applies(wheel)
    }
    assert ran == {check.code for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_rows_are_complete(check: object) -> None:
    for name in ("code", "slug", "title", "problem", "reason", "fix", "source"):
        assert getattr(check, name).strip() == getattr(check, name) != "", name
    assert re.fullmatch(r"WHL[1-9]\d\d", getattr(check, "code"))  # noqa: B009
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", getattr(check, "slug"))  # noqa: B009
    for name in ("problem", "reason"):
        assert getattr(check, name).endswith(".")


def test_importing_the_table_loads_no_parser() -> None:
    heavy = {"auditwheel", "elftools", "macholib", "pefile", "delocate", "abi3info"}
    code = "import sys, pytest_wheelcheck.checks; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "pytest_wheelcheck" in loaded
    assert not heavy & set(loaded)


def test_codes_and_slugs_are_unique_and_in_order() -> None:
    every = [check.code for check in CHECKS]
    assert every == sorted(set(every))
    assert len({check.slug for check in CHECKS}) == len(CHECKS)

"""The fixture and the marker ``wheel_target``, in a target and in an ordinary run."""

from __future__ import annotations

import copy
import pickle
import platform
import re
import sys
from collections.abc import Callable

import pytest
from builders import build_wheel
from nodes import Run, RunOutput, run_output

from pytest_wheelcheck.worker.facts import WheelTarget, local_facts

FACTS = {
    *("wheel", "name", "version", "interpreter", "implementation", "python", "free_threaded", "system"),
    *("architecture", "libc", "libc_version", "machine", "emulated", "page_size", "pty"),
}

TESTS = """
import copy, pickle, sys
import pytest

def test_facts(wheel_target):
    for name in FACTS:
        print("FACT", name, repr(getattr(wheel_target, name)))

def test_frozen(wheel_target):
    with pytest.raises(AttributeError, match="frozen"):
        wheel_target.libc = "musl"
    with pytest.raises(AttributeError, match="frozen"):
        del wheel_target.libc
    with pytest.raises(AttributeError, match="no fact 'colour'"):
        wheel_target.colour
    assert copy.deepcopy(wheel_target) == wheel_target
    assert hash(pickle.loads(pickle.dumps(wheel_target))) == hash(wheel_target)

@pytest.fixture(scope="session")
def wide(wheel_target):
    return wheel_target

def test_session_scope(wide, wheel_target):
    assert wide is wheel_target

@pytest.mark.wheel_target(system=sys.platform)
def test_met(): pass

@pytest.mark.wheel_target(system="plan9")
def test_unmet(): pass

@pytest.mark.wheel_target(system=("plan9", sys.platform), emulated=False)
def test_one_of_several(): pass

@pytest.mark.wheel_target(system=sys.platform, emulated=True)
def test_all_must_hold(): pass

@pytest.mark.wheel_target(skip=True, system=sys.platform)
def test_not_here(): pass

@pytest.mark.wheel_target(skip=True, system="plan9")
def test_not_there(): pass

@pytest.mark.wheel_target(skip=True, machine="host", reason="only on boards")
def test_own_reason(): pass

@pytest.mark.wheel_target(emulated=False)
class TestGroup:
    @pytest.mark.wheel_target(system="plan9")
    def test_both(self): pass
    def test_one(self): pass
"""

OUTCOMES = {
    "test_facts": "PASSED",
    "test_frozen": "PASSED",
    "test_session_scope": "PASSED",
    "test_met": "PASSED",
    "test_unmet": "SKIPPED",
    "test_one_of_several": "PASSED",
    "test_all_must_hold": "SKIPPED",
    "test_not_here": "SKIPPED",
    "test_not_there": "PASSED",
    "test_own_reason": "SKIPPED",
    "test_both": "SKIPPED",
    "test_one": "PASSED",
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture
def run(pytester: pytest.Pytester, run_wheels: Run, request: pytest.FixtureRequest) -> Callable[..., RunOutput]:
    """Run in a target, or an ordinary run: both have the same result."""
    build_wheel(pytester.path / "dist", "some-pkg", "1.5", files={"pkg.py": ""})

    def run(*args: str) -> RunOutput:
        usual = ("-v", "-rsP", "--strict-markers", "-W", "error", *args)
        if request.param == "target":
            return run_output(run_wheels("--wheel-select=WHL101", "--wheel", "dist", *usual))
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *usual, timeout=60)
        nodes = {
            match["id"]: match["outcome"]
            for line in result.outlines
            if (match := re.match(r"(?P<id>\S+::\S+) (?P<outcome>[A-Z]+)\b", line))
        }
        return RunOutput(code=int(result.ret), nodes=nodes, text=result.stdout.str() + result.stderr.str())

    return run


both = pytest.mark.parametrize("run", ["target", "ordinary"], indirect=True)


@both
def test_fixture_and_marker(
    run: Callable[..., RunOutput], pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    pytester.makepyfile(test_t=f"FACTS = {sorted(FACTS)!r}\n{TESTS}")
    ran = run("test_t.py")
    tests = {name.rpartition("::")[2]: outcome for name, outcome in ran.nodes.items() if name.startswith("test_t")}
    assert tests == OUTCOMES
    assert ran.code == 0
    facts = dict(line.split(" ", 2)[1:] for line in ran.text.splitlines() if line.startswith("FACT "))
    assert set(facts) == FACTS
    target = "[target]" in request.node.name
    assert facts["wheel"] == ("'some_pkg-1.5-py3-none-any.whl'" if target else "''")
    assert facts["name"] == ("'some_pkg'" if target else "''")
    assert facts["version"] == ("'1.5'" if target else "''")
    assert facts["interpreter"] == f"'cp{sys.version_info[0]}{sys.version_info[1]}'"
    assert facts["implementation"] == "'cpython'"
    assert facts["python"] == f"'{platform.python_version()}'"
    assert facts["system"] == f"'{sys.platform}'"
    assert facts["architecture"] == f"'{platform.machine().lower()}'"
    assert facts["machine"] == "'host'"
    assert (facts["emulated"], facts["free_threaded"]) == ("False", "False")
    if sys.platform == "linux":
        name, version = platform.libc_ver()
        assert (facts["libc"], facts["libc_version"]) == (f"'{name}'", f"'{version}'")
        assert int(facts["page_size"]) % 4096 == 0
        assert facts["pty"] == "True"
    # The reasons name required and actual facts; the author's own reason replaces them.
    assert re.search(rf"needs a target with system='plan9'; has system='{sys.platform}'", ran.text)
    assert f"not for targets with system='{sys.platform}'" in ran.text
    assert "only on boards" in ran.text


@pytest.mark.parametrize(
    ("run", "mark"),
    [
        ("target", "libc='glibc', colour='red'"),
        ("ordinary", "colour='red'"),
        ("ordinary", "'glibc'"),
        ("ordinary", ""),
        ("ordinary", "skip=True, reason='no fact'"),
    ],
    indirect=["run"],
)
def test_invalid_markers(run: Callable[..., RunOutput], pytester: pytest.Pytester, mark: str) -> None:
    pytester.makepyfile(test_t=f"import pytest\n@pytest.mark.wheel_target({mark})\ndef test_a(): pass\n")
    ran = run("test_t.py")
    assert ran.code == 4
    assert "takes facts by keyword" in ran.text
    assert "test_t.py::test_a" in ran.text
    assert ("got colour" in ran.text) == ("colour" in mark)


def test_wheel_target_value() -> None:
    facts = local_facts()
    assert set(facts) == FACTS
    target = WheelTarget(facts)
    facts["libc"] = "another"
    assert target.libc != "another"
    assert copy.copy(target) == target == pickle.loads(pickle.dumps(target))
    assert target != WheelTarget(facts)
    assert target != "target"
    assert set(dir(target)) >= FACTS
    assert "machine=host" in repr(target)
    assert len({target, copy.deepcopy(target)}) == 1

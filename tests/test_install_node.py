"""``install`` is a node: a wheel that cannot be installed fails there, with the installer's own message."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, RunDist
from packaging.tags import platform_tags


def test_wheels_that_cannot_be_installed(pytester: pytest.Pytester, run_wheels: Run) -> None:
    dist = pytester.path / "dist"
    good = {"pkg/__init__.py": ""}
    build_wheel(dist, "unmet", files=good, requires=["no-such-thing>=7"])
    build_wheel(dist, "old", files=good, requires_python=">=3.2,<3.4")
    build_wheel(dist, "new", files=good, requires_python=">=3.99")
    build_wheel(dist, "renamed", files=good, metadata="Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    build_wheel(dist, "redated", files=good, metadata="Metadata-Version: 2.1\nName: redated\nVersion: 2.0\n")
    build_wheel(dist, "at-odds", files=good, requires=["dep>1", "dep<1"])
    build_wheel(dist, "unscripted", files=good, entry_points={"console_scripts": {"tool": "pkg"}})
    build_wheel(dist, "fine", files=good, requires=["dep==1.0"])
    build_wheel(pytester.path / "links", "dep", files={"dep.py": ""})
    pytester.makepyfile(test_a="import dep, pkg\ndef test_a(): pass\n")
    result = run_wheels(
        *("-rA", "--wheel-select=WHL101", "--junit-xml=j.xml", "--wheel-offline", "--wheel-find-links=links"),
        *("--wheel", "dist"),
    )
    assert result.ret == 1
    report = pytester.path.joinpath("j.xml").read_text("utf-8")
    failed = {
        part.split(".", 1)[0]: part
        for part in report.split('<testcase classname="dist.')[1:]
        if "<failure" in part or "<error" in part
    }
    messages = {
        "unmet-1": ["no-such-thing", "was not found in the cache", "--wheel-offline"],
        "old-1": ["Requires-Python is &gt;=3.2,&lt;3.4"],
        "new-1": ["3.99", "Python"],
        "renamed-1": ["another", "renamed"],
        "redated-1": ["2.0", "1.0"],
        "unscripted-1": ["invalid console script"],
        "at_odds-1": ["dep&gt;1", "dep&lt;1"],
    }
    assert sorted(failed) == sorted(messages)
    for name, expected in messages.items():
        assert 'name="install"' in failed[name]
        for text in expected:
            assert text in failed[name], (name, text, failed[name])
        # Offline, nobody knows whether the requirement exists.
        assert ("<error" in failed[name]) == (name == "unmet-1")
    # A target without installation has one failed node and no tests; the good one has all nodes.
    assert report.count('name="test_a"') == 1
    assert "installed dep 1.0, fine 1.0" in result.stdout.str()


@pytest.mark.parametrize(
    ("pure", "named"),
    [(False, False), (False, True), (True, True)],
    ids=["one-version", "one-version-named", "pure-named"],
)
def test_the_metadata_excludes_the_interpreter_of_the_tag(
    pure: bool, named: bool, pytester: pytest.Pytester, run_dist: RunDist
) -> None:
    """Only who named an interpreter, and could name another, is told so."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    cpython = f"cp{version.replace('.', '')}"
    tag = "py3-none-any" if pure else f"{cpython}-{cpython}-{next(platform_tags())}"
    build_wheel(pytester.path / "dist", "pkg", files={"pkg.py": ""}, tags=[tag], requires_python=f"<{version}")
    ran = run_dist(*([f"--wheel-python={version}"] if named else []))
    assert ran.only("FAILED") == ["install"]
    if pure:
        assert "Cause: this interpreter was requested by name, and an upper bound excludes it\n" in ran.text
        assert "Fix: choose another with --wheel-python, or widen requires-python in pyproject.toml\n" in ran.text
    else:
        assert (
            f"Cause: the tag {tag} of the wheel is for this version, and Requires-Python in its METADATA " in ran.text
        )
        assert f"Fix: change requires-python in pyproject.toml so that it includes {version}, or do not " in ran.text
        assert "requested by name" not in ran.text


def test_an_extra(pytester: pytest.Pytester, run_dist: RunDist, monkeypatch: pytest.MonkeyPatch) -> None:
    build_wheel(pytester.path / "links", "dep", files={"dep.py": ""})
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={"pkg.py": ""},
        extras=["more", "other"],
        requires=["dep; extra == 'more'", "no-such-thing; extra == 'other'"],
    )
    pytester.makepyfile(test_a="import dep\ndef test_a(): pass\n")
    usual = ("--wheel-offline", "--wheel-find-links=links", "--wheel", "dist")
    assert run_dist(*usual, "--wheel-extra=more").only("PASSED")[-1] == "test_a.py::test_a"
    # pip's environment variables apply to the installer.
    monkeypatch.setenv("PIP_FIND_LINKS", str(pytester.path / "links"))
    assert "install" in run_dist("--wheel-offline", "--wheel", "dist", "--wheel-extra=more").only("PASSED")
    monkeypatch.delenv("PIP_FIND_LINKS")
    # Without the extra, the dependency is missing.
    assert "test_a.py" in run_dist(*usual).only("FAILED")
    wrong = run_dist(*usual, "--wheel-extra=absent")
    assert wrong.only("FAILED") == ["install"]
    assert "has no extra absent" in wrong.text
    assert "more, other" in wrong.text


def test_nothing_but_the_wheel_and_its_dependencies(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    # The import check can import neither pip nor setuptools, the test tools or the host's packages.
    code = """
import importlib.metadata, importlib.util, sys
found = sorted(d.name for d in importlib.metadata.distributions())
assert found == ["pkg"], found
assert not [name for name in ("pip", "setuptools", "pytest", "virtualenv") if importlib.util.find_spec(name)]
assert sys.flags.isolated and "_pytest" not in sys.modules
"""
    build_wheel(pytester.path / "dist", "pkg", files={"pkg.py": code})
    pytester.makepyfile(test_a="def test_a(): pass\n")
    ran = run_dist("--wheel", "dist")
    assert (ran.code, ran.only("FAILED"), ran.nodes["import[pkg]"]) == (0, [], "PASSED")


def test_a_cache_that_cannot_be_written_is_not_the_fault_of_the_wheel(
    pytester: pytest.Pytester, run_wheels: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": ""})
    (pytester.path / "file").touch()
    monkeypatch.setenv("UV_CACHE_DIR", str(pytester.path / "file" / "cache"))
    result = run_wheels("--wheel-select=WHL101", "--wheel", "dist", "-v")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*::install ERROR*", "*could not be checked*", "*UV_CACHE_DIR*"])
    assert "FAILED" not in result.stdout.str()


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="mounts a file system of its own")
def test_a_temporary_directory_that_is_mounted_noexec(
    pytester: pytest.Pytester, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another directory is used: no native module could be loaded from it."""
    mounted = pytester.path / "mounted"
    mounted.mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = 'mount -t tmpfs -o noexec tmpfs "$0" && TMPDIR="$0" exec "$@"'
    if subprocess.run([*inside, script, mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host admits no user namespaces")
    monkeypatch.chdir(pytester.path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-p",
        "no:cacheprovider",
        "--wheel-select=WHL101",
        "--wheel",
        witness,
    ]
    ended = subprocess.run(
        [*inside, script, str(mounted), *map(str, command)], capture_output=True, text=True, check=False
    )
    assert "import[wheelcheck_witness._native] PASSED" in ended.stdout, ended.stdout + ended.stderr

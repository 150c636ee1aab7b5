"""``--wheel pypi:NAME``: the wheels of a release on the package index."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import build_wheel
from index_server import Index, serve
from nodes import Run, RunOutput, run_output

from pytest_wheelcheck.system.index import client

#: No project on a public index has this name.
NAME = "wheelcheck-no-such-project"
STEM = "wheelcheck_no_such_project"

Go = Callable[..., RunOutput]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index with three final releases, a pre-release, and one that has no wheel."""
    with serve(tmp_path / "index") as index:
        for version in ("1.0", "1.1", "1.2", "2.0rc1"):
            build_wheel(index.directory, NAME, version, files={f"{STEM}.py": ""})
        build_wheel(index.directory, NAME, "1.2", files={f"{STEM}.py": ""}, tags=("cp313-cp313-win_amd64",))
        (index.directory / f"{STEM}-1.2.tar.gz").write_bytes(b"")
        (index.directory / f"{STEM}-1.3.tar.gz").write_bytes(b"")
        yield index


@pytest.fixture
def go(run_wheels: Run, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Run the static checks on what the argument names."""
    monkeypatch.setenv("WHEELCHECK_CACHE", str(tmp_path / "cache"))

    def run(spec: str, *args: str | Path, source: str | None = None) -> RunOutput:
        address = f"--wheel-index={index.url}" if source is None else source
        options = [*([address] if address else []), "--wheel-select=WHL1", "-v", *args]
        return run_output(run_wheels("--wheel", spec, *options, timeout=120))

    return run


def wheels(found: RunOutput) -> list[str]:
    """Return the wheels of a run, as node ids name them."""
    return sorted(
        {line.partition("::")[0] for line in found.text.splitlines() if "WHL101" in line and " PASSED" in line}
    )


@pytest.mark.parametrize(
    ("spec", "expected", "html"),
    [
        (f"pypi:{NAME}==1.2", ["1.2-cp313-cp313-win_amd64", "1.2-py3-none-any"], True),
        (f"pypi:{STEM.title()}==1.2.0/*any.whl", ["1.2-py3-none-any"], False),
        (f"pypi:{NAME}==2.0rc1", ["2.0rc1-py3-none-any"], False),
        (f"pypi:{NAME}@previous", ["1.2-cp313-cp313-win_amd64", "1.2-py3-none-any"], True),
    ],
)
def test_which_wheels(go: Go, index: Index, spec: str, expected: list[str], html: bool) -> None:
    index.html = html
    found = go(spec, "--wheel-static")
    assert found.code == 0, found.text
    versions = [name.partition("-")[0] for name in expected]
    assert wheels(found) == [
        f"pypi:{NAME}=={version}/{STEM}-{name}.whl" for version, name in zip(versions, expected, strict=True)
    ]


def test_the_newest_release(go: Go, index: Index) -> None:
    (index.directory / f"{STEM}-1.3.tar.gz").unlink()
    found = go(f"pypi:{NAME}", "--wheel-static")
    assert len(wheels(found)) == 2
    assert f"not tested, not a wheel: {STEM}-1.2.tar.gz" in found.text
    index.yanked = {f"{STEM}-1.2-py3-none-any.whl"}
    assert wheels(go(f"pypi:{NAME}", "--wheel-static")) == [f"pypi:{NAME}==1.2/{STEM}-1.2-cp313-cp313-win_amd64.whl"]


def test_what_is_printed_is_accepted(go: Go) -> None:
    node = f"pypi:{NAME}==1.2/{STEM}-1.2-py3-none-any.whl::WHL101-zip"
    found = go(node, "--wheel-static")
    assert "1 passed" in found.text, found.text
    assert f"{node} PASSED" in found.text


def test_a_second_run_downloads_nothing(go: Go, index: Index) -> None:
    assert go(f"pypi:{NAME}==1.0", "--wheel-static").code == 0
    assert sum(path.startswith("/files/") for path in index.requests) == 1
    assert go(f"pypi:{NAME}==1.0", "--wheel-static").code == 0
    assert sum(path.startswith("/files/") for path in index.requests) == 1


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("pypi:", "does not name a release on the package index"),
        (f"pypi:{NAME}>=1", "does not name a release on the package index"),
        (f"pypi:{NAME}-unknown", "the package index has no such project"),
        (f"pypi:{NAME}==7", "there is no such version on the index\nFix: the newest ones are 2.0rc1, 1.3, 1.2"),
        (f"pypi:{NAME}==x", "x is not a version"),
        (f"pypi:{NAME}", "it has a source distribution only"),
        (f"pypi:{NAME}==1.0/*linux*", f"its wheels are: {STEM}-1.0-py3-none-any.whl"),
    ],
)
def test_arguments_that_name_no_wheel(go: Go, spec: str, expected: str) -> None:
    found = go(spec)
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert expected in found.text
    assert "Traceback" not in found.text


def test_an_index_that_cannot_be_used(go: Go, index: Index) -> None:
    spec = f"pypi:{NAME}==1.0"
    found = go(spec, "--wheel-offline")
    assert "the package index cannot be asked with --wheel-offline" in found.text
    for address, expected in (
        ("http://127.0.0.1:9/simple", "Connection refused"),
        (index.url.replace("simple", "text"), "is no index: its answer has the type text/plain"),
    ):
        found = go(spec, "--wheel-static", source=f"--wheel-index={address}")
        assert found.code == pytest.ExitCode.USAGE_ERROR
        assert "the package index cannot be asked" in found.text
        assert expected in found.text
        assert "Traceback" not in found.text


def test_files_that_cannot_be_trusted(go: Go, index: Index, tmp_path: Path) -> None:
    name = f"{STEM}-1.0-py3-none-any.whl"
    spec = f"pypi:{NAME}==1.0"
    index.damaged = {name}
    found = go(spec, "--wheel-static")
    assert f"{name} does not have the digest that the index names" in found.text
    index.damaged, index.without_digest = set(), {name}
    found = go(spec, "--wheel-static")
    assert f"{name} cannot be verified: the index has no SHA-256 for it" in found.text
    assert not list(tmp_path.glob("cache/published/*/*.whl"))


def test_names_that_lead_elsewhere() -> None:
    """The name of a file is checked before it becomes part of a path."""
    page = "http://127.0.0.1/simple/x/"
    (file,) = client.read_html('<a href="../files/..%2F..%2Fx-1.0-py3-none-any.whl#sha256=00">x</a>', page)
    assert file["name"] == "../../x-1.0-py3-none-any.whl"
    from pytest_wheelcheck.targets.planning.published import _version

    assert _version(file["name"], "x") is None


@pytest.mark.parametrize("place", ["pip", "pip.conf", "uv", "project", "password"])
def test_the_users_own_configuration(
    go: Go, index: Index, pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "pip":
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    elif place == "pip.conf":
        monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
        (tmp_path / "pip.conf").write_text(f"[global]\nextra-index-url = {index.url}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    elif place == "uv":
        monkeypatch.setenv("UV_INDEX", index.url)
    elif place == "password":
        index.password = "user:secret"
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
    else:
        (pytester.path / "pyproject.toml").write_text(f'[[tool.uv.index]]\nname = "own"\nurl = "{index.url}"\n')
    found = go(f"pypi:{NAME}==1.0", "--wheel-static", source="")
    assert len(wheels(found)) == 1, found.text
    assert "secret" not in found.text


#: Writes into the home directory when it is imported.
NOSY = "import pathlib\npathlib.Path.home().joinpath('was-here').write_text('x')\n"


def make_sdist(directory: Path, name: str) -> Path:
    """Write an sdist whose build backend writes a file; return the path of that file."""
    mark = directory.parent / "built"
    stem = f"{name.replace('-', '_')}-1.0"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": f"open({str(mark)!r}, 'w').close()\n",
    }
    with tarfile.open(directory / f"{stem}.tar.gz", "w:gz") as archive:
        for file, text in files.items():
            entry = tarfile.TarInfo(f"{stem}/{file}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return mark


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux")
def test_code_of_others_runs_in_the_sandbox(
    go: Go, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(index.directory, NAME, "3.0", files={f"{STEM}.py": NOSY})
    build_wheel(index.directory, NAME, "4.0", files={f"{STEM}.py": ""}, requires=[f"{NAME}-built"])
    mark = make_sdist(index.directory, f"{NAME}-built")
    home = tmp_path / "home"
    home.mkdir()
    cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    monkeypatch.setenv("HOME", str(home))
    spec = f"pypi:{NAME}==3.0"
    found = go(spec, source="")
    assert "sandbox: no network" in found.text
    assert found.outcomes(f"import[{STEM}]") == ["FAILED"], found.text
    assert not (home / "was-here").exists()
    # A dependency that must be built first would run code outside of the sandbox.
    found = go(f"pypi:{NAME}==4.0", source="")
    assert found.outcomes("install") == ["ERROR"], found.text
    assert not mark.exists()
    # A system that allows no sandbox: bubblewrap ends with an error.
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "bwrap").write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    (programs / "bwrap").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        found = go(spec, "-rs", source="")
        assert found.code == 0, found.text
        assert "only the static checks run: a wheel from the package index runs in the sandbox" in found.text
        assert "--wheel-no-sandbox runs it with your rights" in found.text
        assert not found.outcomes("install")
        assert not (home / "was-here").exists()
        assert go(spec, "--wheel-strict", source="").code == 1
    found = go(spec, "--wheel-no-sandbox", source="")
    assert found.outcomes(f"import[{STEM}]") == ["PASSED"], found.text
    assert (home / "was-here").exists()
    go(f"pypi:{NAME}==4.0", "--wheel-no-sandbox", source="")
    assert mark.exists()
    found = go(spec, "--wheel-no-sandbox", "--wheel-sandbox")
    assert "--wheel-sandbox and --wheel-no-sandbox are both given" in found.text


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux")
def test_the_tests_of_another_project(go: Go, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel of somebody else, tried out in the directory of a project: its tests say nothing about that wheel."""
    cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    Path("pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1.0"\n')
    Path("test_mine.py").write_text("import mine\n\n\ndef test_mine(): pass\n")
    found = go(f"pypi:{NAME}==1.2/*any.whl", source="")
    assert f"the tests here are those of mine, so a failing one need not be a fault of {STEM}" in found.text, found.text
    Path("pyproject.toml").write_text(f'[project]\nname = "{NAME}"\nversion = "1.0"\n')
    assert "the tests here are those of" not in go(f"pypi:{NAME}==1.2/*any.whl", source="").text

"""``wheelcheck doctor WHEEL``: the targets of a run, what it would fetch, and what cannot be tested here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import archives
import pytest
from boards import Board, native
from builders import build_wheel
from nodes import COMMAND, Run

from pytest_wheelcheck.backends.wine.redistributables import C_LIBRARY, CPP_RUNTIME
from pytest_wheelcheck.cli.main import main
from pytest_wheelcheck.interpreters.published.sizes import SIZES
from pytest_wheelcheck.interpreters.published.standard_library import EMBEDDED
from pytest_wheelcheck.interpreters.published.table import PUBLISHED
from pytest_wheelcheck.interpreters.uv_builds.catalog import read_catalog, write_origin
from pytest_wheelcheck.interpreters.windows import published as windows
from pytest_wheelcheck.system import cache

on_x86_64_linux = pytest.mark.skipif(
    sys.platform != "linux" or native() != "x86_64", reason="interpreters of x86-64 Linux are native there"
)

VERSION = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory of wheels in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    return tmp_path / "dist"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def doctor(*args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([COMMAND, "doctor", *args], check=False, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done


def report(*args: str) -> dict[str, Any]:
    done = doctor("--json", *args)
    assert done.returncode in {0, 1}, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_targets_are_those_of_a_run(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "pkg", files={"pkg.py": ""})
    run = run_wheels("--wheel=dist", "--wheel-python=auto", "--wheel-providers=host", "--collect-only")
    (header,) = (line for line in run.outlines if line.startswith("wheel: "))
    shown = doctor("dist", "--providers=host")
    assert (shown.returncode, shown.stderr) == (0, "")
    names = re.findall(r"^  (cp\S+) +host: .* \(ready\)$", shown.stdout, re.MULTILINE)
    shown_names = ", ".join(f"{name} [native, host]" for name in names)
    assert header == f"wheel: dist/pkg-1.0-py3-none-any.whl ({shown_names})"
    assert shown.stdout.splitlines()[-1].startswith("to be fetched: nothing, ")


@on_x86_64_linux
def test_what_would_be_fetched_once_and_how_large_it_is(
    dist: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv's catalog has no sizes: the server of the files is asked. Nothing is fetched."""
    file = dist.parent / "python.tar.gz"
    file.write_bytes(bytes(5_200_000))
    entry: dict[str, object] = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": 3,
        "minor": 12,
        "patch": 9,
        "prerelease": "",
        "url": file.as_uri(),
        "sha256": "0" * 64,
        "variant": None,
        "build": "20260801",
    }
    key = "cpython-3.12.9-linux-x86_64-gnu"
    catalog = archives.write_catalogue(dist.parent / "catalog.json", {key: entry})
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", catalog)
    for name in ("one", "two"):
        build_wheel(dist, name, tags=("cp312-abi3-manylinux_2_17_x86_64",))
    found = report("dist", "--providers=uv")
    assert [[each["target"] for each in wheel["targets"]] for wheel in found["wheels"]] == [["cp312-linux-x86_64"]] * 2
    part = {"name": f"{key} from uv", "ready": False, "bytes": 5_200_000}
    assert all(wheel["targets"][0]["parts"] == [part] for wheel in found["wheels"])
    assert found["to_fetch"] == {"parts": 1, "bytes": 5_200_000, "unknown_sizes": 0}
    assert not list(empty_cache.glob("runtimes/*"))
    file.unlink()
    shown = doctor("dist", "--providers=uv")
    assert shown.stdout.splitlines()[2] == f"    to be fetched: {key} from uv (size not known)"
    assert "to be fetched: 1 part whose size is not known, in addition" in shown.stdout
    (download,) = read_catalog()
    cache.provision(download.cache_key, lambda side: write_origin(side, download))
    found = report("dist", "--providers=uv", "--offline")
    assert [wheel["targets"][0]["ready"] for wheel in found["wheels"]] == [True, True]
    assert found["to_fetch"]["parts"] == 0


@on_x86_64_linux
def test_the_size_of_a_published_interpreter_is_known_without_asking(dist: Path) -> None:
    """Its standard library is that of the running interpreter, and costs nothing."""
    pinned = next((each for each in PUBLISHED if each.stem == VERSION and each.platform_tag.endswith("x86_64")), None)
    if pinned is None:
        pytest.skip(f"no published interpreter is CPython {VERSION}")
    build_wheel(dist, "pkg", tags=(f"{pinned.abi}-{pinned.abi}-manylinux_2_17_x86_64",))
    (wheel,) = report("dist", "--providers=published")["wheels"]
    (target,) = wheel["targets"]
    assert target["assembled"]
    (part,) = target["parts"]
    assert (part["name"], part["bytes"]) == (str(pinned.wheel), pinned.wheel.size)
    assert 10_000_000 < pinned.wheel.size < 20_000_000


def test_every_pinned_wheel_has_a_size() -> None:
    pinned = [each.wheel for each in PUBLISHED]
    pinned += [each.wheel for each in windows.PUBLISHED]
    pinned += [each.wheel for each in EMBEDDED.values()]
    pinned += [source.wheel for each in (C_LIBRARY, CPP_RUNTIME) for source in each.sources.values()]
    assert {each.sha256[:16] for each in pinned} == SIZES.keys()
    assert all(each.size > 1_000_000 for each in pinned)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS runs wheels for macOS")
def test_what_cannot_be_tested_here_and_why(dist: Path) -> None:
    build_wheel(dist, "pkg", tags=("cp312-cp312-macosx_11_0_arm64",))
    build_wheel(dist, "pkg", tags=(f"cp39-abi3-manylinux_2_99_{native()}",))
    shown = doctor("dist", "--providers=host")
    assert shown.returncode == 1
    assert re.search(
        r"^  not tested here: cp312-macosx-arm64: needs macOS\n    Fix: run pytest-wheelcheck on macOS; ",
        shown.stdout,
        re.MULTILINE,
    )
    assert re.search(
        rf"^  not tested here: \S+: needs glibc 2\.99 or newer, .*\n    Fix: pass --sysroot {native()}=DIR ",
        shown.stdout,
        re.MULTILINE,
    )


def test_requested_interpreters(dist: Path) -> None:
    build_wheel(dist, "pkg", tags=("py3-none-any",), requires_python=">=3.9")
    (wheel,) = report("dist", f"--python={VERSION},3.8", "--providers=host")["wheels"]
    assert [each["interpreter"] for each in wheel["targets"]] == [f"cp{VERSION.replace('.', '')}"]
    (missing,) = wheel["not_tested"]
    assert doctor("dist", "--python=3.8", "--providers=host").returncode == 1
    assert "3.8 was requested" in missing["reason"]
    assert missing["advice"] == ["correct --python"]


@on_x86_64_linux
def test_machines(dist: Path) -> None:
    """The emulator of one is in the cache or would be fetched; no emulator has the other one."""
    build_wheel(dist, "pkg", tags=("py3-none-any",))
    (wheel,) = report("dist", f"--python={VERSION}", "--providers=host", "--machine=x86-64-v2,x86-64-v4")["wheels"]
    (target,) = wheel["targets"]
    assert (target["machine"], target["execution"]) == ("x86-64-v2", "emulated")
    assert target["target"].endswith("+x86-64-v2")
    assert all(part["name"].startswith("QEMU ") for part in target["parts"])
    (missing,) = wheel["not_tested"]
    assert "QEMU does not emulate AVX-512" in missing["reason"]
    assert missing["advice"] == ["correct --machine"]


def test_a_file_that_a_run_would_not_install(dist: Path) -> None:
    """A damaged one, and one whose members leave the directory."""
    (dist / "bad-1.0-py3-none-any.whl").write_bytes(b"no archive")
    build_wheel(dist, "pkg", files={"../../outside.py": "", "pkg.py": ""})
    shown = doctor("dist", "--providers=host")
    assert shown.returncode == 1
    assert "bad-1.0-py3-none-any.whl is not safe to open: the file has no ZIP end record" in shown.stdout
    assert "outside.py" in shown.stdout
    assert "-linux-" not in shown.stdout
    assert not list(dist.parent.rglob("outside.py"))


def test_a_host_on_which_nothing_can_be_installed(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_wheel(dist, "pkg")
    (dist.parent / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(dist.parent / "file" / "cache"))
    (wheel,) = report("dist")["wheels"]
    assert not wheel["targets"]
    assert "WHEELCHECK_CACHE" in wheel["not_tested"][0]["reason"]


def test_a_board(board: Board, board_path: Path, dist: Path) -> None:
    """A wheel that is not for it, and is tested elsewhere, is no problem."""
    build_wheel(dist, "pkg")
    (wheel,) = report("dist", "--providers=host", f"--host={board.url}")["wheels"]
    (there,) = (each for each in wheel["targets"] if each["provider"] == "board")
    assert (there["execution"], there["ready"]) == ("board", True)
    assert re.match(r"/usr/bin/python3\S*, on ", there["how"])
    here = [each["interpreter"] for each in wheel["targets"] if each["interpreter"] != there["interpreter"]]
    if not here:
        pytest.skip("the host has no interpreter that the board lacks")
    (dist / "pkg-1.0-py3-none-any.whl").unlink()
    build_wheel(dist, "pkg", tags=(f"{here[0]}-{here[0]}-linux_{native()}",))
    build_wheel(dist, "other", tags=(f"{there['interpreter']}-{there['interpreter']}-linux_{native()}",))
    shown = doctor("dist", "--providers=host", f"--host={board.url}")
    assert re.search(rf"^  not tested here: \S*{here[0]}\S*: on ", shown.stdout, re.MULTILINE), shown.stdout
    assert shown.returncode == 0
    board.wait_until_idle()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere/"], "nowhere/: there is no such file"),
        (["dist"], "dist: the directory"),
        (["dist", "aarch64"], "architectures and wheels are both given"),
        (["--python=3.12"], "--python, --machine and --host are for wheels"),
        (["dist/*.whl", "--machine=vax"], "vax"),
        (["pypi:bcrypt"], "doctor downloads no wheels"),
        (["vax"], "vax: unknown architecture"),
    ],
)
def test_wrong_arguments(dist: Path, args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    if args[0] == "dist/*.whl":
        build_wheel(dist, "pkg")
    assert main(["doctor", *args]) == 4
    error = capsys.readouterr().err
    assert error.startswith("wheelcheck: ")
    assert message in error

"""The survey: it chooses wheels from an index, resumes, and explains red nodes. The index is a real one, on this host."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import survey
from builders import build_wheel
from checks.objects import make_macho, make_pe
from survey_index import PLATFORMS, best_wheel, find_release, published_files
from survey_report import EXPLANATIONS, read_explanations

MACOS, WINDOWS = "cp312-cp312-macosx_11_0_arm64", "cp312-cp312-win_amd64"
INIT = ("PyInit__native",)


class Index:
    """A package index on this host.

    :ivar requests: paths of the requests that it answered.
    """

    def __init__(self) -> None:
        self.projects: dict[str, list[dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests.append(self.path)
                name = self.path.strip("/").rpartition("/")[2]
                if name in index.files:
                    body = index.files[name]
                elif name in index.projects:
                    body = json.dumps({"files": index.projects[name]}).encode()
                else:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def publish(self, wheel: Path, *, days: int = 0, yanked: bool = False) -> None:
        self.files[wheel.name] = wheel.read_bytes()
        self.projects.setdefault(wheel.name.partition("-")[0], []).append(
            {
                "filename": wheel.name,
                "url": f"../../files/{wheel.name}",
                "hashes": {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()},
                "size": wheel.stat().st_size,
                "upload-time": (datetime.now(timezone.utc) - timedelta(days=days)).isoformat(),
                "yanked": yanked,
            }
        )

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    yield index
    index.close()


def native(directory: Path, name: str, tag: str, *, version: str = "1.0", minimum: tuple[int, int] = (11, 0)) -> Path:
    if tag == WINDOWS:
        file, module = "_native.cp312-win_amd64.pyd", make_pe(exports=INIT, needed=("KERNEL32.dll", "python312.dll"))
    else:
        file, module = "_native.cpython-312-darwin.so", make_macho(exports=INIT, minimum=minimum)
    files: dict[str, bytes | str] = {f"{name}/__init__.py": "", f"{name}/py.typed": "", f"{name}/{file}": module}
    return build_wheel(directory, name, version, files, tags=(tag,))


def result(state: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((state / "static-newest" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_a_survey(index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tag in (MACOS, WINDOWS):
        index.publish(native(tmp_path, "sound", tag))
    # A wheel for macOS 11 whose module needs macOS 12.
    index.publish(native(tmp_path, "faulty", MACOS, minimum=(12, 0)))
    index.publish(build_wheel(tmp_path, "pure", files={"pure/__init__.py": ""}))
    projects, state = tmp_path / "projects.csv", tmp_path / "state"
    projects.write_text("# source\ndownloads,project\n3,sound\n2,faulty\n1,pure\n", encoding="utf-8")
    common = ["--state", str(state), "--index", index.url]
    run = [*common, "run", "--static", "--batch", "2", "--list", str(projects)]

    assert survey.main(run) == 0
    assert result(state, "sound-win_amd64")["red"] == []
    assert result(state, "sound-win_amd64")["counts"]["passed"] > 40
    assert [node["node"] for node in result(state, "faulty-macosx_arm64")["red"]] == ["WHL401-macos-version"]
    assert result(state, "faulty-win_amd64")["state"] == "no wheel"
    assert {result(state, f"pure-{platform}")["state"] for platform in PLATFORMS} == {"no wheel"}

    # A wheel that is too large for one run is checked by a run with another limit.
    (state / "static-newest" / "faulty-macosx_arm64.json").unlink()
    assert survey.main([*run, "--max-size", "0.0001"]) == 0
    assert result(state, "faulty-macosx_arm64")["state"] == "too large"
    assert survey.main(run) == 0
    assert result(state, "faulty-macosx_arm64")["state"] == "tested"

    # Everything has a result: nothing is asked again. --again repeats what was red.
    asked = len(index.requests)
    assert survey.main(run) == 0
    assert len(index.requests) == asked
    assert survey.main([*run, "--again"]) == 0
    assert index.requests[asked:] == ["/simple/faulty/", "/files/faulty-1.0-cp312-cp312-macosx_11_0_arm64.whl"]

    explanations = tmp_path / "explanations.toml"
    explanations.write_text("", encoding="utf-8")
    report = [*common, "report", "--explanations", str(explanations)]
    capsys.readouterr()
    assert survey.main(report) == 1
    text = capsys.readouterr().out
    assert "| static-newest | macosx_arm64 | 2 | 1 | 1 | 0 | 1 | 0 |" in text
    assert "## Not explained" in text
    assert "`WHL401-macos-version`" in text
    explanations.write_text(
        '[[class]]\ntitle = "older than its files"\nverdict = "fault"\nevidence = "LC_BUILD_VERSION"\nnode = "WHL401"\n',
        encoding="utf-8",
    )
    assert survey.main(report) == 0
    row = "| older than its files | faulty 1.0 (macosx_arm64) | LC_BUILD_VERSION |"
    assert row in capsys.readouterr().out.splitlines()


def test_a_run_that_does_not_end_is_no_pass(index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index.publish(native(tmp_path, "sound", MACOS))
    common = ["--state", str(tmp_path / "state"), "--index", index.url]
    run = [*common, "run", "--static", "--platforms", "macosx_arm64"]
    assert survey.main([*run, "--timeout", "0.01", "sound"]) == 0
    assert result(tmp_path / "state", "sound-macosx_arm64")["state"] == "timeout"
    explanations = tmp_path / "explanations.toml"
    explanations.write_text("", encoding="utf-8")
    assert survey.main([*common, "report", "--explanations", str(explanations)]) == 1
    assert survey.main([*run, "--again", "sound"]) == 0
    assert result(tmp_path / "state", "sound-macosx_arm64")["red"] == []
    assert survey.main([*common, "report", "--explanations", str(explanations)]) == 0


def test_which_release_is_chosen(index: Index, tmp_path: Path) -> None:
    for version, days in (("1.0", 3 * 365 + 200), ("2.0", 2 * 365 + 100), ("3.0", 10)):
        index.publish(native(tmp_path, "many", MACOS, version=version), days=days)
    index.publish(native(tmp_path, "many", MACOS, version="4.0"), yanked=True)
    index.publish(native(tmp_path, "many", MACOS, version="5.0rc1"))
    newest, old = find_release(index.url, "many"), find_release(index.url, "many", years=2)
    assert newest
    assert newest.version == "3.0"
    assert old
    assert old.version == "2.0"
    assert find_release(index.url, "many", years=9) is None
    assert find_release(index.url, "missing") is None


def test_which_wheel_is_chosen(index: Index, tmp_path: Path) -> None:
    for tag in ("py3-none-any", "cp39-abi3-macosx_11_0_arm64", "cp312-cp312-macosx_10_9_universal2"):
        index.publish(build_wheel(tmp_path, "several", files={"several/__init__.py": ""}, tags=(tag,)))
    (files,) = published_files(index.url, "several").values()
    chosen = {platform: best_wheel(files, platform) for platform in PLATFORMS}
    names = {platform: file.name for platform, file in chosen.items() if file}
    assert names == {"macosx_arm64": "several-1.0-cp312-cp312-macosx_10_9_universal2.whl"}


def test_an_explanation_explains_something_and_has_a_known_verdict(tmp_path: Path) -> None:
    path = tmp_path / "explanations.toml"
    for wrong in ('verdict = "guess"\nnode = "WHL"', 'verdict = "fault"'):
        path.write_text(f'[[class]]\ntitle = "a"\nevidence = "b"\n{wrong}\n', encoding="utf-8")
        with pytest.raises(ValueError, match=r"^a: "):
            read_explanations(path)


def test_the_list_of_projects_and_the_explanations_can_be_read() -> None:
    projects = survey.read_projects()
    assert len(projects) == len(set(projects)) == 300
    read_explanations(EXPLANATIONS)

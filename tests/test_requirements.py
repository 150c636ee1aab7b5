"""Test requirements in which the wheel replaces its own project."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import build_wheel

from pytest_wheelcheck.errors import InstallError
from pytest_wheelcheck.targets.preparing.install import InstalledWheel
from pytest_wheelcheck.targets.preparing.requirements import TOOLS, OwnProject, write_requirements
from pytest_wheelcheck.wheels.reader import open_wheel


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnProject:
    """A project in the current directory, whose wheel is elsewhere."""
    directory = tmp_path / "own project"
    directory.mkdir()
    (directory / "pyproject.toml").write_text("[project]\nname = 'My.Pkg'\n", encoding="utf-8")
    monkeypatch.chdir(directory)
    path = build_wheel(tmp_path / "dist", "my_pkg", files={"my_pkg.py": ""})
    return OwnProject(wheel=open_wheel(path, shown=path.name, store=tmp_path))


def written(project: OwnProject, tmp_path: Path, *entries: str) -> list[str]:
    copies = tmp_path / "copies"
    copies.mkdir(exist_ok=True)
    installed = InstalledWheel(
        requirement=f"my_pkg[all] @ {uri(project)}", wheel=("my_pkg", "1.0"), distributions=(), output="", seconds=0.0
    )
    lines = write_requirements(copies, project, installed, entries).read_text(encoding="utf-8").splitlines()
    assert lines[: len(TOOLS) + 1] == [*TOOLS, installed.requirement]
    return lines[len(TOOLS) + 1 :]


def uri(project: OwnProject) -> str:
    return project.wheel.path.as_uri()


@pytest.mark.parametrize(
    ("line", "extras", "marker"),
    [
        ("-e .", "", ""),
        ("-e.", "", ""),
        ("--editable=.", "", ""),
        (".", "", ""),
        ("./", "", ""),
        ("../own project", "", ""),
        (".[more]", "[more]", ""),
        ("-e .[b, a]", "[a,b]", ""),
        ("-e . ; python_version >= '3'", "", " ; python_version >= '3'"),
        ("./ ; python_version >= '3'", "", " ; python_version >= '3'"),
        ("-e .[a];os_name == 'posix'", "[a]", " ; os_name == 'posix'"),
        ("file:.", "", ""),
        ("my-pkg @ file:.", "", ""),
        ("My.Pkg[a] @ https://example.org/x.zip ; os_name == 'nt'", "[a]", ' ; os_name == "nt"'),
        ("my_pkg @ git+https://example.org/x.git@main", "", ""),
        ("my_pkg @ ./", "", ""),
        (".  # the project itself", "", ""),
    ],
)
def test_replaced(line: str, extras: str, marker: str, project: OwnProject, tmp_path: Path) -> None:
    assert written(project, tmp_path, line) == [f"my_pkg{extras} @ {uri(project)}{marker}"]


@pytest.mark.parametrize(
    "line",
    [
        "my-pkg[test]>=1",
        "other",
        "other @ file:.",
        "./sub",
        "-e ./sub",
        "-e git+https://example.org/x.git#egg=my_pkg",
        "https://example.org/my_pkg-2.0-py3-none-any.whl",
        "numpy==1.0 --hash=sha256:aa --hash=sha256:bb",
        "--index-url https://example.org/simple",
        "-f https://example.org/links",
        "-r https://example.org/requirements.txt",
        "--pre",
        "not a requirement",
    ],
)
def test_not_replaced(line: str, project: OwnProject, tmp_path: Path) -> None:
    Path("sub").mkdir()
    Path("sub/pyproject.toml").write_text("[project]\nname = 'sub'\n", encoding="utf-8")
    assert written(project, tmp_path, line) == [line]


def test_directory_without_a_name(project: OwnProject, tmp_path: Path) -> None:
    Path("pyproject.toml").write_text("[build-system]\n", encoding="utf-8")
    assert written(project, tmp_path, ".") == ["."]
    known = OwnProject(wheel=project.wheel, directory=Path.cwd())
    assert written(known, tmp_path, ".") == [f"my_pkg @ {uri(project)}"]


def test_url_of_a_directory(project: OwnProject, tmp_path: Path) -> None:
    assert "%20" in Path.cwd().as_uri()
    assert written(project, tmp_path, f"-e {Path.cwd().as_uri()}") == [f"my_pkg @ {uri(project)}"]


def test_included_files(project: OwnProject, tmp_path: Path) -> None:
    Path("deep er").mkdir()
    Path("requirements.txt").write_bytes(b"\xef\xbb\xbf# ours: -e .\nfirst  # why\n-r deep er/inner.txt\nlast\n")
    Path("deep er/inner.txt").write_text(
        "-e . # the project\nlong \\\n  >=1\n-c ../constraints.txt\n--requirement='../plain file.txt'\n-f links\n",
        encoding="utf-8",
    )
    for name in ("constraints.txt", "plain file.txt"):
        Path(name).write_text("-f links\nplain\n", encoding="utf-8")
    (line,) = written(project, tmp_path, "-r requirements.txt")
    copy = Path(line.removeprefix("-r "))
    assert copy.parent == tmp_path / "copies"
    first, nested, last = copy.read_text(encoding="utf-8").splitlines()
    assert (first, last) == ("first", "last")
    assert [" ".join(line.split()) for line in Path(nested.removeprefix("-r ")).read_text("utf-8").splitlines()] == [
        f"my_pkg @ {uri(project)}",
        "long >=1",
        f"-c {(Path.cwd() / 'deep er/../constraints.txt').as_posix()}",
        f"--requirement {(Path.cwd() / 'deep er/../plain file.txt').as_posix()}",
        f"-f {(Path.cwd() / 'deep er/links').as_posix()}",
    ]


def test_unchanged_file_is_not_copied(project: OwnProject, tmp_path: Path) -> None:
    Path("requirements.txt").write_text("plain\n-r more.txt\n", encoding="utf-8")
    Path("more.txt").write_text("-r requirements.txt\n-r missing.txt\n", encoding="utf-8")
    path = (Path.cwd() / "requirements.txt").as_posix()
    assert written(project, tmp_path, "-r requirements.txt") == [f"-r {path}"]
    assert written(project, tmp_path, "--requirement=requirements.txt") == [f"--requirement {path}"]
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["requirements.in"]


def test_file_that_includes_itself(project: OwnProject, tmp_path: Path) -> None:
    Path("sub").mkdir()
    Path("requirements.txt").write_text(".\n-r sub/../requirements.txt\n", encoding="utf-8")
    (line,) = written(project, tmp_path, "-r requirements.txt")
    assert line.startswith(f"-r {(tmp_path / 'copies').as_posix()}/")


@pytest.mark.parametrize("entry", ["-r nowhere.txt", "-c nowhere.txt"])
def test_file_that_does_not_exist(entry: str, project: OwnProject, tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"nowhere\.txt does not exist"):
        written(project, tmp_path, entry)

"""``--wheel-resolution``: a wheel with the oldest dependencies that it declares, next to the newest test requirements."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import RunDist
from runtimes import create, make_runtime

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.errors import DependencyError
from pytest_wheelcheck.interpreters.base import here
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.preparing.install import install_wheel, unresolved
from pytest_wheelcheck.wheels.reader import open_wheel

#: Names that no index has.
DEP, BELOW, MORE, TOOL = "whl-res-dep", "whl-res-below", "whl-res-more", "whl-res-tool"


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """Three versions of each distribution."""
    directory = tmp_path / "links"
    for version in ("1.0", "1.5", "2.0"):
        for name in (DEP, BELOW, MORE, TOOL):
            module = f"{name.replace('-', '_')}.py"
            build_wheel(directory, name, version, {module: ""}, requires=[f"{BELOW}>=1.5"] if name == DEP else [])
    return directory


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) and name != "UV_CACHE_DIR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def make_wheel(directory: Path, requires: Sequence[str] = (f"{DEP}>=1.5,<9",), extras: Sequence[str] = ()) -> Wheel:
    path = build_wheel(directory / "dist", "pkg", files={"pkg.py": ""}, requires=requires, extras=extras)
    return open_wheel(path, shown="pkg", store=directory / "store")


def native_runtime() -> Runtime:
    """The running interpreter, for whose platform dependencies are built from source."""
    runtime = make_runtime()
    return replace(runtime, installation=replace(runtime.installation, platform=here()))


def install(
    wheel: Wheel, links: Path, resolution: str, directory: Path, *, extras: Sequence[str] = ()
) -> dict[str, str]:
    """Install a wheel; return the versions of its dependencies."""
    runtime = native_runtime()
    environment = create(runtime, directory / f"environment {resolution}")
    settings = InstallSettings(find_links=(str(links),))
    found = install_wheel(runtime, environment, wheel, extras=extras, settings=settings, resolution=resolution)
    return {name: version for name, version in found.distributions if name != "pkg"}


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("resolution", "expected"),
    [
        ("", {DEP: "2.0", BELOW: "2.0"}),
        ("highest", {DEP: "2.0", BELOW: "2.0"}),
        ("lowest-direct", {DEP: "1.5", BELOW: "2.0"}),
        ("lowest", {DEP: "1.5", BELOW: "1.5"}),
    ],
)
def test_direct_dependencies_are_those_that_the_wheel_declares(
    tmp_path: Path, links: Path, resolution: str, expected: dict[str, str]
) -> None:
    """For uv itself, the wheel would be the only direct one."""
    assert install(make_wheel(tmp_path), links, resolution, tmp_path) == expected


@pytest.mark.usefixtures("offline")
def test_dependencies_of_extras_are_direct_if_the_extra_is_installed(tmp_path: Path, links: Path) -> None:
    requires = [f"{DEP}>=1.0", f"{MORE}>=1.5; extra == 'more' and python_version > '3'", f"{TOOL}; extra == 'other'"]
    wheel = make_wheel(tmp_path, requires, extras=["more", "other"])
    found = install(wheel, links, "lowest-direct", tmp_path, extras=["more"])
    assert found == {DEP: "1.0", BELOW: "2.0", MORE: "1.5"}


def write_sdist(directory: Path, name: str, version: str) -> None:
    """Write an sdist that cannot be built: an old version often cannot for a new interpreter."""
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": "raise RuntimeError('not for this interpreter')\n",
    }
    with tarfile.open(directory / f"{stem}.tar.gz", "w:gz") as tar:
        for file, text in files.items():
            info = tarfile.TarInfo(f"{stem}/{file}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("resolution", ["lowest-direct", "lowest"])
def test_the_oldest_version_that_has_a_wheel_is_enough(tmp_path: Path, links: Path, resolution: str) -> None:
    write_sdist(links, DEP, "0.5")
    wheel = make_wheel(tmp_path, [DEP])
    assert install(wheel, links, resolution, tmp_path)[DEP] == "1.0"


@pytest.mark.usefixtures("offline")
def test_a_dependency_that_cannot_be_built_is_not_a_fault_of_the_wheel(tmp_path: Path, links: Path) -> None:
    """The error says that old versions were requested; so does the reason to use an older interpreter."""
    write_sdist(links, "whl-res-old", "1.0")
    wheel = make_wheel(tmp_path, ["whl-res-old"])
    with pytest.raises(DependencyError, match="--wheel-resolution lowest-direct") as caught:
        install(wheel, links, "lowest-direct", tmp_path)
    assert "whl-res-old has no wheel for this interpreter and platform, and could not be built" in caught.value.cause
    settings = Settings(
        cwd=tmp_path, root=tmp_path, wheels=(), find_links=(str(links),), resolution="lowest-direct", offline=False
    )
    assert "whl-res-old has no wheel" in unresolved(native_runtime(), wheel, settings)
    assert unresolved(native_runtime(), make_wheel(tmp_path / "other"), settings) == ""


@pytest.mark.network
def test_a_run_with_the_oldest_dependencies(run_dist: RunDist, pytester: pytest.Pytester, links: Path) -> None:
    """The test requirement is the newest, next to them; the header and the report name the resolution."""
    build_wheel(pytester.path / "dist", "pkg", files={"pkg.py": ""}, requires=[f"{DEP}>=1.5"])
    pytester.makepyprojecttoml('[tool.wheelcheck]\nresolution = "lowest-direct"\n')
    pytester.makepyfile(
        test_it=f"""
        from importlib.metadata import version

        def test_versions():
            assert [version(name) for name in ({DEP!r}, {BELOW!r}, {TOOL!r})] == ["1.5", "2.0", "2.0"]
            assert version("pytest-timeout") >= "2.4"
        """
    )
    run = run_dist(f"--wheel-find-links={links}", f"--wheel-requires={TOOL}", "--wheel-report=report.json")
    assert run.code == pytest.ExitCode.OK, run.text
    assert run.outcomes("test_versions") == ["PASSED"]
    assert "dependencies of the wheels: lowest-direct versions (--wheel-resolution)" in run.text
    report = json.loads((pytester.path / "report.json").read_text(encoding="utf-8"))
    assert report["resolution"] == "lowest-direct"


def test_an_unknown_resolution(run_dist: RunDist, pytester: pytest.Pytester) -> None:
    build_wheel(pytester.path / "dist", "pkg")
    run = run_dist("--wheel-resolution=oldest")
    assert run.code == pytest.ExitCode.USAGE_ERROR
    assert "use one of highest, lowest, lowest-direct" in run.text

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from builders import build_wheel
from runtimes import create, make_runtime

from pytest_wheelcheck.backends.qemu.backend import QemuBackend
from pytest_wheelcheck.errors import InstallError, RuntimeUnavailableError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.preparing.declared import installed_alone
from pytest_wheelcheck.targets.preparing.install import InstalledWheel, install_wheel, list_distributions
from pytest_wheelcheck.targets.preparing.overlay import Overlay, Tools, make_overlay, provide_tools
from pytest_wheelcheck.targets.target import Target


def _interpreters() -> list[Path]:
    found = {sysconfig.get_python_version(): Path(sys.executable)}
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for path in sorted(versions.glob("3.*/bin/python3")):
        release = (
            tuple(map(int, path.parent.parent.name.split(".")[:2])) if path.parent.parent.name[-1].isdigit() else ()
        )
        if release >= (3, 9):
            found.setdefault(".".join(map(str, release)), path)
    return list(found.values())


INTERPRETERS = _interpreters()


def make_wheel(path: Path, *, extras: Sequence[str] = (), requires: Sequence[str] = ()) -> Wheel:
    name, version = path.name.split("-")[:2]
    return Wheel(
        path=path,
        shown=path.name,
        source=path,
        sha256="",
        size=path.stat().st_size,
        name=name,
        version=version,
        build="",
        tags=(),
        dist_info=f"{name}-{version}.dist-info",
        requires_python=None,
        requires=tuple(requires),
        extras=tuple(extras),
        console_scripts=(),
        files=(),
        scripts=(),
        binaries=(),
    )


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing from the network, and caches of the test's own."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("WHEELCHECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv cache"))


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "find links"
    module = {"__init__.py": ""}

    def add(name: str, version: str, requires: Sequence[str] = (), files: Mapping[str, str] | None = None) -> None:
        build_wheel(
            folder,
            name,
            version,
            files or {f"{name}/{file}": text for file, text in module.items()},
            requires=requires,
        )

    add("dep", "1.0")
    add("dep", "2.0")
    add("extradep", "1.0")
    add("pkg", "9.0")
    add("pluggy", "1.6")
    add("pytest", "7.0", files={"pytest.py": "version = 7"})
    add("pytest", "8.4", ["pluggy"], files={"pytest.py": "version = 8"})
    add("pytest_timeout", "2.4", ["pytest>=7"], files={"pytest_timeout.py": "import pytest"})
    add("tool", "1.0", ["pkg>=0.5", "dep"])
    add("newtool", "1.0", ["dep>=2"])
    add("fartool", "1.0", ["pkg>=5"])
    return folder


@pytest.fixture
def settings(links: Path) -> InstallSettings:
    return InstallSettings(find_links=(str(links),))


@pytest.fixture
def wheel(tmp_path: Path) -> Wheel:
    path = build_wheel(
        tmp_path / "dist",
        "pkg",
        "1.0",
        {"pkg/__init__.py": "import dep\n", "pkg/_data.txt": "x"},
        requires=["dep<3", "extradep; extra == 'more'"],
        extras=["more"],
        entry_points={"console_scripts": {"pkg-run": "pkg:main"}},
    )
    return make_wheel(path, extras=["more"])


class Prepared:
    def __init__(self, tmp_path: Path, settings: InstallSettings, wheel: Wheel, extras: Sequence[str] = ()) -> None:
        self.folder = tmp_path / "target"
        self.settings = settings
        self.wheel = wheel
        self.runtime = make_runtime()
        self.environment = create(self.runtime, self.folder / "environment")
        self.installed = install_wheel(self.runtime, self.environment, wheel, extras=extras, settings=settings)

    def overlay(
        self,
        *requirements: str,
        groups: Sequence[str] = (),
        project: Path | None = None,
        name: str = "overlay",
    ) -> Overlay:
        tools = Tools(requirements=requirements, project=project, groups=groups, settings=self.settings)
        return make_overlay(tools, self.runtime, self.environment, self.wheel, self.installed, self.folder / name)


@pytest.fixture
def prepared(tmp_path: Path, settings: InstallSettings, wheel: Wheel) -> Iterator[Prepared]:
    # dep 1.0, so that the newest is not what is there.
    constraint = tmp_path / "constraint.txt"
    constraint.write_text("dep==1.0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_CONSTRAINT", str(constraint))
        target = Prepared(tmp_path, settings, wheel)
    assert target.installed.distributions == (("dep", "1.0"), ("pkg", "1.0"))
    yield target
    assert [name for name, _ in list_distributions(target.environment.site_directories)] == ["dep", "pkg"]


def evaluate(python: Path, code: str) -> str:
    return subprocess.check_output([python, "-I", "-c", code], text=True).strip()


# --- create ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: str(path.parent.parent.name))
def test_clean_environment_of_each_interpreter(python: Path, tmp_path: Path) -> None:
    runtime = make_runtime(python)
    environment = create(runtime, tmp_path / "with space" / "environment")
    prefix, version, path = evaluate(
        environment.python, "import sys; print(sys.prefix, list(sys.version_info[:3]), sys.path, sep='\\n')"
    ).splitlines()
    assert Path(prefix) == environment.root
    assert json.loads(version) == list(runtime.installation.version)
    assert repr(str(environment.site_packages)) in path
    assert all(not any(site.iterdir()) for site in environment.site_directories)
    assert environment.python.parent == environment.scripts


def test_many_environments_at_once(tmp_path: Path) -> None:
    runtimes = [make_runtime(python) for python in INTERPRETERS] * 4
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, runtimes, [tmp_path / str(number) for number in range(len(runtimes))]))
    for runtime, environment in zip(runtimes, made, strict=True):
        assert (
            evaluate(environment.python, "import sys; print(*sys.version_info[:3], sep='.')")
            == runtime.installation.version_text
        )


def test_settings_of_virtualenv_do_not_reach_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUALENV_SYSTEM_SITE_PACKAGES", "true")
    monkeypatch.setenv("VIRTUALENV_PIP", "bundle")
    environment = create(make_runtime(), tmp_path / "environment")
    assert "include-system-site-packages = false" in (environment.root / "pyvenv.cfg").read_text()


def test_no_interpreter(tmp_path: Path) -> None:
    runtime = make_runtime()
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(RuntimeUnavailableError, match="virtualenv cannot make an environment"):
        create(replace(runtime, python=broken), tmp_path / "environment")


# --- install ---------------------------------------------------------------------------------------------------------


def test_wheel_and_its_dependencies_and_nothing_else(tmp_path: Path, settings: InstallSettings, wheel: Wheel) -> None:
    target = Prepared(tmp_path, settings, wheel)
    assert target.installed.wheel == ("pkg", "1.0")
    assert target.installed.distributions == (("dep", "2.0"), ("pkg", "1.0"))
    assert "pkg==1.0" in target.installed.output
    assert evaluate(target.environment.python, "import pkg, dep; print(pkg.__file__)").startswith(
        str(target.environment.root)
    )
    script = next(target.environment.scripts.glob("pkg-run*"))
    assert str(target.environment.python.parent).encode() in script.read_bytes()


def test_extras(tmp_path: Path, settings: InstallSettings, wheel: Wheel) -> None:
    target = Prepared(tmp_path, settings, wheel, ["more"])
    assert target.installed.distributions == (("dep", "2.0"), ("extradep", "1.0"), ("pkg", "1.0"))
    with pytest.raises(InstallError, match="no extra other"):
        Prepared(tmp_path / "again", settings, wheel, ["other"])


def test_files_are_copies(tmp_path: Path, settings: InstallSettings, wheel: Wheel) -> None:
    target = Prepared(tmp_path, settings, wheel)
    (target.environment.site_packages / "dep" / "__init__.py").write_text("raise SystemError\n")
    (target.environment.site_packages / "pkg" / "__init__.py").write_text("raise SystemError\n")
    other = Prepared(tmp_path / "other", settings, wheel)
    assert evaluate(other.environment.python, "import pkg; print('fine')") == "fine"


@pytest.mark.parametrize(
    ("overrides", "cause", "word"),
    [
        ({"requires": ["nowhere-to-be-found>3"]}, "no index or directory", "nowhere-to-be-found"),
        ({"requires": ["dep>7"]}, "contradict", "dep>7"),
        ({"requires_python": ">=3.99"}, "Requires-Python", "3.99"),
        ({"metadata": "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n"}, "different names", "other"),
        ({"metadata": "Metadata-Version: 2.1\nName: faulty\nVersion: 2.0\n"}, "different names or versions", "2.0"),
        ({"metadata": ""}, "damaged", "dist-info"),
        ({"tags": ["cp39-cp39-win_arm64"]}, "no wheel of the distribution has a tag", "faulty"),
    ],
    ids=lambda value: str(next(iter(value)) if isinstance(value, dict) else ""),
)
def test_wheel_that_cannot_be_installed(
    overrides: dict[str, object], cause: str, word: str, tmp_path: Path, settings: InstallSettings
) -> None:
    path = build_wheel(tmp_path / "dist", "faulty", "1.0", {"faulty.py": ""}, **overrides)  # type: ignore[arg-type]
    with pytest.raises(InstallError) as caught:
        Prepared(tmp_path, settings, make_wheel(path))
    assert cause in caught.value.cause
    assert word in caught.value.details
    assert caught.value.fix
    assert "Using Python" not in caught.value.details


def test_no_wheel_at_all(tmp_path: Path, settings: InstallSettings) -> None:
    path = tmp_path / "junk-1.0-py3-none-any.whl"
    path.write_bytes(b"not a zip file")
    with pytest.raises(InstallError) as caught:
        Prepared(tmp_path, settings, make_wheel(path))
    assert "damaged" in caught.value.cause


def test_index_that_cannot_be_reached(tmp_path: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(InstallError) as caught:
        Prepared(tmp_path, InstallSettings(index="http://127.0.0.1:9/simple"), wheel)
    assert "cannot be reached" in caught.value.cause
    assert "--wheel-offline" in caught.value.fix
    assert "--wheel-find-links" in caught.value.fix


def test_offline_and_nothing_there(tmp_path: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    with pytest.raises(InstallError) as caught:
        Prepared(tmp_path, InstallSettings(offline=True), wheel)
    assert "--wheel-find-links" in caught.value.fix


def test_overrides_of_the_project_do_not_hide_a_wrong_requirement(
    tmp_path: Path, links: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        "[project]\nname = 'pkg'\nversion = '1.0'\n"
        f"[tool.uv]\noverride-dependencies = ['dep==1.0']\nfind-links = ['../{links.name}']\n"
    )
    monkeypatch.chdir(project)
    target = Prepared(tmp_path, InstallSettings(), wheel)
    assert target.installed.distributions == (("dep", "2.0"), ("pkg", "1.0"))


# --- overlay ---------------------------------------------------------------------------------------------------------


def behind(overlay: Overlay, code: str) -> str:
    return evaluate(overlay.environment.python, f"import sys; sys.path.append({str(overlay.path)!r}); {code}")


def test_overlay_lies_beside_the_environment(prepared: Prepared) -> None:
    overlay = prepared.overlay()
    assert overlay.environment == prepared.environment
    assert overlay.conflict == ""
    assert overlay.distributions == (("pluggy", "1.6"), ("pytest", "8.4"), ("pytest_timeout", "2.4"))
    assert behind(overlay, "import pkg, dep, pytest, pytest_timeout; print(pytest.version)") == "8"


def test_what_the_environment_has_is_taken(prepared: Prepared) -> None:
    overlay = prepared.overlay("dep", "tool")
    assert [name for name, _ in overlay.distributions] == ["pluggy", "pytest", "pytest_timeout", "tool"]


def test_conflict_goes_into_an_environment_of_its_own(prepared: Prepared) -> None:
    overlay = prepared.overlay("newtool")
    assert overlay.path is None
    assert overlay.environment != prepared.environment
    assert "dep" in overlay.conflict
    assert overlay.moved == (("dep", "1.0", "2.0"),)
    assert ("pkg", "1.0") in overlay.distributions
    assert evaluate(overlay.environment.python, "import pytest, newtool, pkg; print(pkg.__file__)").startswith(
        str(overlay.environment.root)
    )


def test_tools_that_need_another_version_of_the_wheel_itself(prepared: Prepared) -> None:
    with pytest.raises(InstallError) as caught:
        prepared.overlay("fartool")
    assert "conflict with" in caught.value.message
    assert "pkg>=5" in caught.value.details


def test_wheel_that_pins_an_old_pytest(tmp_path: Path, settings: InstallSettings) -> None:
    path = build_wheel(tmp_path / "dist", "plug", "1.0", {"plug.py": ""}, requires=["pytest<8"])
    target = Prepared(tmp_path, settings, make_wheel(path))
    with pytest.raises(InstallError, match="conflict with"):
        target.overlay()


def test_wheel_that_brings_pytest(tmp_path: Path, settings: InstallSettings) -> None:
    path = build_wheel(tmp_path / "dist", "plug", "1.0", {"plug.py": ""}, requires=["pytest"])
    overlay = Prepared(tmp_path, settings, make_wheel(path)).overlay()
    assert overlay.distributions == (("pytest_timeout", "2.4"),)


@pytest.mark.parametrize("line", ["-e .", ".", "-e .[more]", "./ ; python_version >= '3'", "pkg @ file:."])
def test_own_project_is_the_wheel(
    line: str, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "own project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        "[project]\nname = 'Pkg'\nversion = '3.0'\n[build-system]\nrequires = ['nothing-like-it']\n"
    )
    (project / "inner.txt").write_text(f"# ours\n{line}  # here\n")
    (project / "requirements.txt").write_text("-r inner.txt\nextradep \\\n  >=1\n")
    monkeypatch.chdir(project)
    overlay = prepared.overlay("-r requirements.txt")
    assert overlay.conflict == ""
    assert [name for name, _ in overlay.distributions] == ["extradep", "pluggy", "pytest", "pytest_timeout"]
    assert prepared.overlay(line, name="second").conflict == ""


def test_groups(prepared: Prepared, tmp_path: Path) -> None:
    project = tmp_path / "grouped"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        "[project]\nname = 'pkg'\nversion = '3.0'\n"
        "[build-system]\nrequires = ['nothing-like-it']\nbuild-backend = 'nothing'\n"
        "[dependency-groups]\ntest = ['pkg[more]', {include-group = 'also'}]\nalso = ['tool']\n"
        "[tool.uv.sources]\npkg = {path = '.'}\n"
    )
    overlay = prepared.overlay(groups=["test"], project=project)
    assert [name for name, _ in overlay.distributions] == ["extradep", "pluggy", "pytest", "pytest_timeout", "tool"]
    with pytest.raises(InstallError, match="has no dependency group tests") as caught:
        prepared.overlay(groups=["tests"], project=project, name="second")
    assert caught.value.cause == "its dependency groups are test, also"
    with pytest.raises(InstallError, match=r"there is no pyproject\.toml"):
        prepared.overlay(groups=["test"], project=tmp_path, name="third")


def test_requirements_file_that_is_not_there(prepared: Prepared) -> None:
    with pytest.raises(InstallError, match="does not exist"):
        prepared.overlay("-r nowhere.txt")


def test_overlay_is_cached_compiled_and_copied(prepared: Prepared, links: Path) -> None:
    first = prepared.overlay("extradep")
    assert first.path is not None
    source = first.path / "pytest.py"
    compiled = Path(importlib.util.cache_from_source(str(source)))
    assert compiled.is_file()
    # Accepted without reading the source (PEP 552): the flags follow the magic number.
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01
    source.write_text("version = 'spoilt'")
    assert not list(first.path.glob(".complete*"))
    second = prepared.overlay("extradep", name="second")
    assert behind(second, "import pytest; print(pytest.version)") == "8"
    # Another file of the same version is another thing.
    build_wheel(links, "extradep", "1.0", {"extradep/__init__.py": "new = 1"})
    third = prepared.overlay("extradep", name="third")
    assert behind(third, "import extradep; print(extradep.new)") == "1"


def provided_early(prepared: Prepared, assumed: InstalledWheel) -> Overlay:
    """Make an overlay from tools that were provided for an assumed content of the environment."""
    tools, path = Tools(settings=prepared.settings, requirements=["extradep"]), prepared.folder / "overlay"
    provided = provide_tools(tools, prepared.runtime, prepared.wheel, assumed, path)
    for file in path.glob("*.dist-info"):
        (file / "early").touch()
    return make_overlay(
        tools, prepared.runtime, prepared.environment, prepared.wheel, prepared.installed, path, provided=provided
    )


@pytest.mark.parametrize(
    ("requires", "extras", "is_known"),
    [
        ([], (), True),
        (["dep; sys_platform == 'amiga'", "extradep; extra == 'more'"], (), True),
        (["dep"], (), False),
        (["extradep; extra == 'more'"], ("more",), False),
    ],
)
def test_what_is_installed_is_known_for_wheels_without_dependencies(
    tmp_path: Path, settings: InstallSettings, requires: list[str], extras: tuple[str, ...], is_known: bool
) -> None:
    # The name of METADATA, which the installed distribution has, differs from that of the file.
    path = build_wheel(tmp_path / "dist", "Plain.pkg", "1.0", {"plain.py": ""}, requires=requires, extras=["more"])
    target = Prepared(tmp_path, settings, make_wheel(path, requires=requires, extras=["more"]), extras)
    assumed = installed_alone(Target(wheel=target.wheel, runtime=target.runtime), extras)
    assert (assumed is not None) == is_known
    if assumed is not None:
        overlay = provided_early(target, assumed)
        assert overlay.path is not None
        assert list(overlay.path.glob("*.dist-info/early")), "they are used"
        names = [name for name, _ in overlay.distributions]
        assert names == ["extradep", "pluggy", "pytest", "pytest_timeout"]


def test_tools_for_another_content_of_the_environment_are_replaced(prepared: Prepared) -> None:
    assumed = replace(prepared.installed, distributions=(prepared.installed.wheel, ("extradep", "1.0")))
    overlay = provided_early(prepared, assumed)
    assert overlay.path is not None
    assert not list(overlay.path.glob("*.dist-info/early"))
    assert [name for name, _ in overlay.distributions] == ["extradep", "pluggy", "pytest", "pytest_timeout"]
    assert behind(overlay, "import extradep; print(extradep.__name__)") == "extradep"


@pytest.mark.parametrize("linked", [False, True])
def test_a_changed_file_of_the_tools_is_not_used_again(prepared: Prepared, linked: bool) -> None:
    tools = Tools(settings=prepared.settings, linked=linked)

    def make(name: str) -> Path:
        path = make_overlay(
            tools, prepared.runtime, prepared.environment, prepared.wheel, prepared.installed, prepared.folder / name
        ).path
        assert path is not None
        return path / "pytest.py"

    first = make("first")
    assert (first.stat().st_nlink > 1) == linked
    first.write_text("version = 'changed by a test'")
    assert make("second").read_text() == "version = 8"


def test_bytecode_for_an_emulated_runtime_is_made_natively(prepared: Prepared) -> None:
    runtime = replace(prepared.runtime, backend=QemuBackend())
    prepared.runtime = runtime
    overlay = prepared.overlay()
    assert overlay.path is not None
    assert Path(importlib.util.cache_from_source(str(overlay.path / "pytest.py"))).is_file()
    # CPython 3.10 does not set sys._base_executable in a virtual environment.
    prepared.runtime = replace(runtime, native=Path(sys.executable).resolve())
    overlay = prepared.overlay(name="other")
    assert overlay.path is not None
    # By another interpreter: unchecked bytecode (PEP 552).
    compiled = Path(importlib.util.cache_from_source(str(overlay.path / "pytest.py")))
    assert compiled.read_bytes()[4:8] == bytes([1, 0, 0, 0])
    prepared.runtime = replace(runtime, installation=replace(runtime.installation, version=(3, 99, 0)))
    overlay = prepared.overlay(name="second")
    assert overlay.path is not None
    assert not (overlay.path / "__pycache__").exists()


def test_local_project_as_test_requirement(prepared: Prepared, tmp_path: Path) -> None:
    path = build_wheel(tmp_path / "tools", "helper", "1.0", {"helper.py": "value = 1"})
    assert behind(prepared.overlay(str(path)), "import helper; print(helper.value)") == "1"


def test_offline_with_what_is_cached(prepared: Prepared, tmp_path: Path) -> None:
    prepared.overlay()
    shutil.copytree(prepared.environment.root, tmp_path / "unused", symlinks=True)
    prepared.settings = InstallSettings(find_links=prepared.settings.find_links, offline=True)
    assert prepared.overlay(name="second").distributions


@pytest.mark.network
@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: str(path.parent.parent.name))
def test_real_pytest_runs_from_the_overlay(
    python: Path, tmp_path: Path, settings: InstallSettings, wheel: Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("UV_CACHE_DIR")
    runtime = make_runtime(python)
    dependency = tmp_path / "only"
    build_wheel(dependency, "dep", "2.0", {"dep.py": ""})
    settings = InstallSettings(find_links=(str(dependency),))
    environment = create(runtime, tmp_path / "environment")
    installed = install_wheel(runtime, environment, wheel, extras=(), settings=settings)
    overlay = make_overlay(Tools(settings=settings), runtime, environment, wheel, installed, tmp_path / "overlay")
    test = tmp_path / "test_it.py"
    test.write_text("import pkg\ndef test_it(request): assert request.config.pluginmanager.hasplugin('timeout')\n")
    code = f"import sys; sys.path.append({str(overlay.path)!r}); import pytest; sys.exit(pytest.main([{str(test)!r}]))"
    done = subprocess.run(
        [environment.python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert not {name for name, _ in list_distributions(environment.site_directories)} - {"dep", "pkg"}

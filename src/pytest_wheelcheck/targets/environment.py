"""Environment and Overlay: where a wheel is installed, and what the tests need behind it.

The environment is what a user of the wheel gets: a virtual environment with the wheel and its declared dependencies,
nothing else. The overlay is a folder with pytest and the test requirements that is put *behind* the environment's
site-packages on ``sys.path``: it can add modules, never replace one, and is not there while the wheel is imported on
its own. Both are resolved to agree; where they cannot, the tools go into a second environment, and the run says so.

Nothing here is linked into a cache: code under test may edit its own site-packages.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.wine import venv as windows_venv
from pytest_wheelcheck.errors import InstallError, ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import libraries
from pytest_wheelcheck.model import Runtime, Wheel
from pytest_wheelcheck.system import cache, process, uv, uv_errors
from pytest_wheelcheck.system.uv_config import InstallSettings

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

#: What the worker itself needs. 8.4 is the newest pytest for Python 3.9; its reports load in 9.
TOOLS = ("pytest>=8.4", "pytest-timeout")

#: Bump to have every cached overlay made again.
_LAYOUT = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """A virtual environment.

    :param root: its folder.
    :param python: its interpreter's executable.
    :param site_packages: where pure modules are installed (sysconfig's ``purelib``).
    :param platlib: where the others are; mostly the same folder.
    :param scripts: where console scripts are: ``bin`` or ``Scripts``.
    :param runtime: the runtime that it was made of, where that one needs launchers; else ``None``.
    """

    root: Path
    python: Path
    site_packages: Path
    platlib: Path
    scripts: Path
    runtime: Runtime | None = None

    @property
    def site_folders(self) -> tuple[Path, ...]:
        """The folders of installed modules, without repeats."""
        return tuple(dict.fromkeys((self.site_packages, self.platlib)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """What is in an environment after the wheel was installed there.

    :param requirement: what was asked for, such as ``pkg[extra] @ file:///…/pkg-1.0-….whl``.
    :param wheel: name and version of the wheel's distribution, as its METADATA has them.
    :param distributions: name and version of everything in the environment, the wheel too, sorted by name.
    :param output: the installer's words.
    :param seconds: wall time.
    :param missing: why libraries of the system that something of it may expect are not there; mostly empty.
    """

    requirement: str
    wheel: tuple[str, str]
    distributions: tuple[tuple[str, str], ...]
    output: str
    seconds: float
    missing: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """pytest and the test requirements, for one environment.

    :param environment: where the tests run: the wheel's own environment, or, after a conflict, another one into which
        the wheel was installed together with the tools.
    :param path: the folder to put behind site-packages; ``None`` after a conflict, when there is nothing to put.
    :param distributions: name and version of what is in *path*; after a conflict, of everything in *environment*.
    :param conflict: why the tools do not go with what the wheel's environment has, in the installer's words; or empty.
    :param moved: after a conflict, the wheel's dependencies that have another version beside the tools: name, version
        in the wheel's environment, version beside the tools (empty where it is gone).
    :param seconds: wall time.
    :param missing: as in :class:`Installed`, after a conflict.
    """

    environment: Environment
    path: Path | None
    distributions: tuple[tuple[str, str], ...]
    conflict: str = ""
    moved: tuple[tuple[str, str, str], ...] = ()
    seconds: float = 0.0
    missing: str = ""


# --- environment -----------------------------------------------------------------------------------------------------


def create(runtime: Runtime, folder: Path) -> Environment:
    """Make a clean virtual environment of *runtime* in *folder*, with nothing installed, by virtualenv.

    virtualenv is called in this process: of the 150 ms that its command takes, 145 are Python starting and importing
    it. What it learns of an interpreter is kept in our cache. Safe to call from several threads.

    :param folder: need not exist; its parents are made.
    :raises RuntimeUnavailableError: no environment can be made of this interpreter.
    """
    if runtime.under:
        return _create_for_windows(runtime, folder)
    if runtime.emulated:
        return _create_by_hand(runtime, folder)
    from virtualenv import session_via_cli

    # The user's own settings of virtualenv (seeds, system packages, copies) have no business here.
    env = {key: value for key, value in os.environ.items() if not key.startswith("VIRTUALENV_")}
    env["VIRTUALENV_CONFIG_FILE"] = os.devnull
    # virtualenv 21.15.0 and earlier create their default directory before they read --app-data.
    env["VIRTUALENV_OVERRIDE_APP_DATA"] = str(cache.root() / "virtualenv")
    arguments = [
        *("--quiet", "--python", str(runtime.python), "--app-data", str(cache.root() / "virtualenv")),
        *("--no-seed", "--no-download", "--no-periodic-update", "--activators", "", "--no-vcs-ignore"),
        str(folder),
    ]
    try:
        session = session_via_cli(arguments, setup_logging=False, env=env)
        session.run()
    except (Exception, SystemExit) as error:  # virtualenv declares no errors of its own
        raise RuntimeUnavailableError(
            f"no virtual environment can be made with {runtime.python}",
            cause=f"{runtime.how}; it is no working interpreter, or one that virtualenv does not know",
            fix=f"try it by hand: {sys.executable} -m virtualenv --no-seed --python {runtime.python} FOLDER",
            details=f"{type(error).__name__}: {error}",
        ) from error
    creator = session.creator
    environment = Environment(
        root=folder,
        python=Path(creator.exe),
        site_packages=Path(creator.purelib),
        platlib=Path(creator.platlib),
        scripts=Path(creator.script_dir),
        runtime=runtime if runtime.launch else None,
    )
    for site in environment.site_folders:
        # virtualenv's patch of distutils (before 3.10), which every start of the interpreter would import.
        for name in ("_virtualenv.pth", "_virtualenv.py"):
            (site / name).unlink(missing_ok=True)
    return environment


def _create_by_hand(runtime: Runtime, folder: Path) -> Environment:
    """Make an environment without running its interpreter, which would take a second under an emulator.

    PEP 405 says what it is: a link to the interpreter, a file that names the interpreter's folder, and site-packages
    where the interpreter's scheme ``venv`` has them (:mod:`sysconfig`).
    """
    stem = f"{runtime.version[0]}.{runtime.version[1]}{'t' if runtime.free_threaded else ''}"
    scripts = folder / "bin"
    site_packages = folder / "lib" / f"python{stem}" / "site-packages"
    try:
        scripts.mkdir(parents=True)
        site_packages.mkdir(parents=True)
        for alias in ("python3", f"python{stem}"):
            (scripts / alias).symlink_to("python")
        _point(folder, runtime.python, runtime.version_text)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"no virtual environment can be made in {folder}: {error.strerror or error}"
        ) from error
    return Environment(
        root=folder,
        python=scripts / "python",
        site_packages=site_packages,
        platlib=site_packages,
        scripts=scripts,
        runtime=runtime,
    )


def _create_for_windows(runtime: Runtime, folder: Path) -> Environment:
    try:
        windows_venv.lay(runtime, folder)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"no virtual environment can be made in {folder}: {error.strerror or error}"
        ) from error
    site_packages = folder / "Lib" / "site-packages"
    return Environment(
        root=folder,
        python=folder / "Scripts" / "python",
        site_packages=site_packages,
        platlib=site_packages,
        scripts=folder / "Scripts",
        runtime=runtime,
    )


def _point(folder: Path, python: Path, version: str) -> None:
    """Make *python* the interpreter of an environment made by hand."""
    link = folder / "bin" / "python"
    side = folder / "bin" / ".python"
    side.symlink_to(python)
    side.replace(link)
    lines = [f"home = {python.parent}", "include-system-site-packages = false", f"version = {version}"]
    (folder / "pyvenv.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")


#: The versions of glibc for which uv 0.13 knows a platform ``ARCHITECTURE-manylinux_2_N``.
_UV_GLIBC = (17, 28, *range(31, 41))


def uv_platform(runtime: Runtime) -> str | None:
    """Say a runtime's platform as uv does (``--python-platform``); ``None`` where uv has no word for it.

    uv 0.13 knows none for armv7l and i686, and for musl on other architectures than these two.
    """
    if runtime.under:
        return windows_venv.UV_PLATFORMS[runtime.architecture]
    if runtime.system != "linux" or runtime.implementation != "cpython":
        return None
    architecture = runtime.architecture
    if runtime.libc == "musl":
        # Stands for musllinux_1_2.
        fits = architecture in {"x86_64", "aarch64"} and runtime.libc_version >= (1, 2)
        return f"{architecture}-unknown-linux-musl" if fits else None
    if architecture == "riscv64":
        # Stands for manylinux_2_39.
        return "riscv64-unknown-linux" if runtime.libc_version >= (2, 39) else None
    if architecture not in {"x86_64", "aarch64", "ppc64le", "s390x"} or runtime.libc_version < (2, 17):
        return None
    return f"{architecture}-manylinux_2_{max(minor for minor in _UV_GLIBC if minor <= runtime.libc_version[1])}"


def _foreign_words(runtime: Runtime) -> list[str | Path] | None:
    """Give uv's words for working on behalf of a runtime through its native stand-in; ``None`` to do it directly."""
    platform = uv_platform(runtime)
    stand_in = runtime.emulated and runtime.native is not None
    if platform is None or not (stand_in or runtime.under):
        return None
    return ["--python-platform", platform, "--python-version", runtime.version_text]


def _interpreter_words(runtime: Runtime) -> list[str | Path]:
    words = _foreign_words(runtime)
    return ["--python", runtime.python] if words is None else ["--python", runtime.native or sys.executable, *words]


def _install_into(
    environment: Environment, words: Sequence[str | Path], settings: InstallSettings, *, project: Path | None = None
) -> tuple[process.CompletedProcess, str]:
    """Run ``uv pip install`` on an environment, by a native interpreter where the environment's own is emulated.

    For as long as uv runs, the environment's interpreter is then the native one: uv asks it for its folders, and writes
    the environment's path into console scripts.

    :returns: what uv said, and which libraries of the system are missing.
    """
    runtime = environment.runtime
    foreign = None if runtime is None else _foreign_words(runtime)
    command: list[str | Path] = ["install", "--python", environment.python, "--link-mode", "copy"]
    if runtime is None or foreign is None:
        done = uv.run([*command, *words], settings, project=project)
    elif runtime.under:

        def run(python: Path) -> process.CompletedProcess:
            own: list[str | Path] = ["install", "--python", python, "--link-mode", "copy"]
            return uv.run([*own, *foreign, *words], settings, project=project)

        return windows_venv.install(environment.root, runtime, run), ""
    else:
        _point(environment.root, runtime.native or runtime.python, runtime.version_text)
        try:
            done = uv.run([*command, *foreign, *words], settings, project=project)
        finally:
            _point(environment.root, runtime.python, runtime.version_text)
        if done.returncode != 0 and "matching platform" in done.stderr + done.stdout:
            # uv's word for the platform may stand for an older C library than the runtime has.
            done = uv.run([*command, *words], settings, project=project)
    problem = ""
    if runtime is not None:
        launched, problem = _with_libraries(environment, settings)
        _launch_executables(environment, launched or runtime)
    return done, problem


def _with_libraries(
    environment: Environment, settings: InstallSettings, further: Sequence[Path] = ()
) -> tuple[Runtime | None, str]:
    """Give an environment the libraries of the system that what is installed may expect.

    :param further: folders outside it whose modules are loaded in it.
    :returns: the runtime that it has then, if another one, and why it has not, if it should.
    """
    runtime = environment.runtime
    if runtime is None:
        return None, ""
    names = libraries.wanted((*environment.site_folders, environment.scripts, *further), runtime)
    if not names:
        return None, ""
    try:
        runtime = libraries.equip(runtime, names, offline=settings.offline)
    except RuntimeUnavailableError as error:
        # Whether it matters shows where the library is loaded.
        return None, error.message
    _point(environment.root, runtime.python, runtime.version_text)
    return runtime, ""


def provide_libraries(environment: Environment, folder: Path, settings: InstallSettings) -> str:
    """Give an environment the libraries of the system that the tools behind it may expect.

    Nothing may run in it meanwhile.

    :param folder: of the tools.
    :returns: why it has not got them, if it should.
    """
    return _with_libraries(environment, settings, [folder])[1]


def _launch_executables(environment: Environment, runtime: Runtime) -> None:
    """Put a launcher in the place of every ELF executable that was installed; the kernel could not start it.

    The program itself stays in the same folder, by another name, since it may look for files beside it. Executables
    stand among the scripts, and within packages that start them by their paths.
    """
    if not runtime.launch:
        return
    before, after = runtime.launch
    launch = Launch(before=before, after=after)
    for place in dict.fromkeys((environment.scripts, *environment.site_folders)):
        for program in _programs(place, emulated=runtime.emulated):
            real = program.with_name(f".{program.name}.elf")
            program.rename(real)
            program.write_text(launch.text(real), encoding="utf-8")
            program.chmod(0o755)


#: Offsets of e_type, e_phoff, e_phentsize with e_phnum in an ELF header, and the form of an address; by EI_CLASS.
_ELF_FORMS = {1: (28, 42, "I"), 2: (32, 54, "Q")}
_ET_EXEC, _ET_DYN, _PT_INTERP = 2, 3, 3


def _programs(folder: Path, *, emulated: bool) -> Iterator[Path]:
    """Find the ELF executables in a tree.

    A static one, which names no loader, is none where the host's own processor runs it.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  called for a thousand files
            if not re.search(r"^\.|\.(py|so)(\.|$)", name) and _is_program(path, emulated=emulated):
                yield Path(path)


def _is_program(path: str, *, emulated: bool) -> bool:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IXUSR:
        return False
    with open(path, "rb") as file:  # noqa: PTH123  as above
        head = file.read(4096)
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] not in _ELF_FORMS:
        return False
    order = ">" if head[5] == 2 else "<"
    table, sizes, form = _ELF_FORMS[head[4]]
    (kind,) = struct.unpack_from(f"{order}H", head, 16)
    if emulated or kind not in {_ET_EXEC, _ET_DYN}:
        return kind in {_ET_EXEC, _ET_DYN}
    (start,) = struct.unpack_from(f"{order}{form}", head, table)
    size, count = struct.unpack_from(f"{order}2H", head, sizes)
    places = range(start, min(start + size * count, len(head) - 4), max(size, 1))
    return any(struct.unpack_from(f"{order}I", head, place)[0] == _PT_INTERP for place in places)


def install(environment: Environment, wheel: Wheel, *, extras: Sequence[str], settings: InstallSettings) -> Installed:
    """Install the wheel with its declared dependencies and *extras* into *environment*, as a user would.

    The project at hand has no say in it (its ``override-dependencies`` and the like are not published with the wheel),
    except for where packages come from. Files are copied, never linked. Nothing is compiled to byte-code: an import
    compiles what it needs, which is a small part of what the larger dependencies hold.

    :param extras: names of extras of the wheel.
    :raises InstallError: it cannot be installed; the installer's words are in ``details``.
    """
    unknown = {canonicalize_name(extra) for extra in extras} - {canonicalize_name(extra) for extra in wheel.extras}
    if unknown:
        raise InstallError(
            f"{wheel.shown} has no extra {', '.join(sorted(unknown))}",
            cause=f"its METADATA provides {', '.join(wheel.extras) or 'none'}",
            fix="correct --wheel-extra, or the optional dependencies of the project",
        )
    requirement = _requirement(wheel, extras)
    done, missing = _install_into(environment, [requirement], settings, project=environment.root)
    if done.returncode != 0:
        raise uv_errors.install_error(f"{wheel.shown} cannot be installed", done)
    distributions = _distributions(environment.site_folders)
    own = [(name, version) for name, version in distributions if _same(name, wheel.name)]
    if not own:
        raise InstallError(
            f"{wheel.shown} was installed, but there is no distribution {wheel.name} afterwards",
            cause="the name in its METADATA, or its dist-info folder, is not that of the file",
            fix="build it again",
            details=uv_errors.output(done),
        )
    return Installed(
        requirement=requirement,
        wheel=own[0],
        distributions=distributions,
        output=uv_errors.output(done),
        seconds=done.seconds,
        missing=missing,
    )


def _requirement(wheel: Wheel, extras: Iterable[str]) -> str:
    wanted = ",".join(sorted(extras))
    return f"{wheel.name}{f'[{wanted}]' if wanted else ''} @ {wheel.path.absolute().as_uri()}"


def _same(one: str, other: str) -> bool:
    return canonicalize_name(one) == canonicalize_name(other)


def _distributions(folders: Iterable[Path]) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[str, str]] = {}
    for distribution in importlib.metadata.distributions(path=[str(folder) for folder in folders]):
        # A dist-info folder without METADATA has no name.
        name = distribution.metadata["Name"] if distribution.metadata else None
        if name:
            found.setdefault(canonicalize_name(name), (name, distribution.version))
    return tuple(found[key] for key in sorted(found))


# --- overlay ---------------------------------------------------------------------------------------------------------


def overlay(
    environment: Environment,
    runtime: Runtime,
    wheel: Wheel,
    installed: Installed,
    folder: Path,
    *,
    requirements: Sequence[str],
    project: Path | None,
    groups: Sequence[str],
    settings: InstallSettings,
    compiler: Path | None = None,
) -> Overlay:
    """Lay pytest, pytest-timeout and the test requirements into a folder of their own, for behind *environment*.

    What the environment has is taken as it is: only the rest goes into the folder. Requirements that name the wheel's
    project are met by the wheel. What was resolved is kept in the user cache, with byte-code; each call gets a copy.

    :param installed: what :func:`install` returned for *environment*.
    :param folder: is filled; need not exist.
    :param requirements: requirement strings, local paths, or ``-r FILE`` (relative to the current folder, as in pip).
    :param project: the folder of the ``pyproject.toml`` whose *groups* are wanted.
    :param groups: names of dependency groups (PEP 735).
    :param compiler: an interpreter that makes byte-code for *runtime* at native speed: one of the same implementation,
        minor version and ABI, whatever its architecture. ``None`` for the runtime's own, or, for an emulated one, the
        host's where it fits; otherwise an emulated target's overlay has no byte-code.
    :raises InstallError: the tools cannot be had, or fit the wheel in no way.
    """
    start = time.monotonic()
    if groups and (project is None or not (project / "pyproject.toml").is_file()):
        raise InstallError(
            f"there is no pyproject.toml with the dependency group {groups[0]}",
            cause=f"looked in {project or 'no folder'}",
            fix="run from the project's folder, or correct --wheel-group",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".requirements-") as scratch:
        files = _write_requirements(Path(scratch), wheel, installed, requirements, project)
        words: list[str | Path] = []
        for group in groups:
            words += ["--group", f"{project}{os.sep}pyproject.toml:{group}"]
        if groups:
            # The project's sources may say that its own name is its own folder.
            words += ["--no-sources-package", installed.wheel[0]]
        present = [name for name, _ in installed.distributions]
        pins = _resolve(
            runtime, [*files, *words, "-c", _write_constraints(Path(scratch), installed)], present, settings
        )
        if not isinstance(pins, process.CompletedProcess):
            _fill(folder, runtime, pins, settings, compiler or compiler_for(runtime))
            return Overlay(
                environment=environment,
                path=folder,
                distributions=_distributions([folder]),
                seconds=time.monotonic() - start,
            )
        conflict = uv_errors.output(pins)
        second = create(runtime, folder)
        done, missing = _install_into(
            second,
            [
                *([] if runtime.emulated or runtime.under else ["--compile-bytecode"]),
                *(word for path in files for word in ("-r", path)),
                *words,
            ],
            settings,
        )
        if done.returncode != 0:
            raise uv_errors.install_error(f"the test requirements do not go together with {wheel.shown}", done)
    distributions = _distributions(second.site_folders)
    return Overlay(
        environment=second,
        path=None,
        distributions=distributions,
        conflict=conflict,
        moved=_moved(installed.distributions, distributions),
        seconds=time.monotonic() - start,
        missing=missing,
    )


def _moved(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
    now = {canonicalize_name(name): version for name, version in after}
    pairs = [(name, version, now.get(canonicalize_name(name), "")) for name, version in before]
    return tuple(pair for pair in pairs if pair[1] != pair[2])


def _resolve(
    runtime: Runtime, words: Sequence[str | Path], present: Iterable[str], settings: InstallSettings
) -> str | process.CompletedProcess:
    """Resolve to pins with hashes, without what is *present*; or give uv's answer where requirements conflict."""
    done = uv.run(
        [
            *("compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"),
            *_interpreter_words(runtime),
            *words,
            *(word for name in present for word in ("--no-emit-package", name)),
        ],
        settings,
    )
    if uv_errors.is_conflict(done):
        return done
    if done.returncode != 0:
        raise uv_errors.install_error("pytest and the test requirements cannot be resolved", done)
    return done.stdout


def _fill(folder: Path, runtime: Runtime, pins: str, settings: InstallSettings, compiler: Path | None) -> None:
    """Install *pins* into *folder*: by way of the cache where they name contents, else directly."""
    # An editable project would be reached through a .pth file, which is only obeyed in site-packages.
    pins = re.sub(r"^-e ", "", pins, flags=re.MULTILINE)
    if not _names_contents(pins):
        _target(folder, runtime, pins, settings, compiler)
        return
    name = f"{runtime.interpreter}-{runtime.platform}"
    compiled = "plain" if compiler is None else "compiled" if compiler == runtime.python else "unchecked"
    key = cache.digest(str(_LAYOUT), pins, name, runtime.version_text, uv.version(), compiled)

    def make(side: Path) -> None:
        _target(side / "site", runtime, pins, settings, compiler)
        (side / "listing").write_text(_listing(side / "site"), encoding="utf-8")

    place = f"overlays/{name}-{key}"
    made = cache.provision(place, make)
    if not _is_whole(made):
        # A cleaner of old files, a full disk or a test reached into it.
        cache.remove(place)
        made = cache.provision(place, make)
    # copytree keeps the times, by which the interpreter knows that byte-code is fresh.
    shutil.copytree(made / "site", folder, symlinks=True, dirs_exist_ok=True)


def _is_whole(made: Path) -> bool:
    try:
        return (made / "listing").read_text(encoding="utf-8") == _listing(made / "site")
    except (OSError, UnicodeDecodeError):
        return False


def _listing(site: Path) -> str:
    """Digest the names, sizes and times of a tree's files: quickly made, and different after every damage."""
    found = []
    for folder, _, names in os.walk(site):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118  called for a thousand files
            status = os.lstat(path)
            found.append(f"{path[len(os.fspath(site)) :]}\0{status.st_size}\0{status.st_mtime_ns}")
    return cache.digest(*sorted(found))


def _names_contents(pins: str) -> bool:
    """Tell whether every pin says exactly what it is: by hash, or by the commit of a repository."""
    joined = pins.replace("\\\n", " ")
    return all(
        "--hash=" in line or re.search(r"@ git\+\S+@[0-9a-f]{40}\b", line)
        for line in joined.splitlines()
        if line.strip()
    )


def _target(folder: Path, runtime: Runtime, pins: str, settings: InstallSettings, compiler: Path | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not pins.strip():
        return
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as scratch:
        listed = Path(scratch, "pins.txt")
        listed.write_text(pins, encoding="utf-8")
        done = uv.run(
            [
                *("install", *_interpreter_words(runtime), "--target", folder, "--no-deps", "--link-mode", "copy"),
                *(["--compile-bytecode"] if compiler == runtime.python else []),
                *("-r", listed),
            ],
            settings,
        )
    if done.returncode != 0:
        raise uv_errors.install_error("pytest and the test requirements cannot be installed", done)
    # Scripts in Python would start the runtime's own interpreter, which knows neither wheel nor tools.
    for scripts in (folder / "bin", folder / "Scripts"):
        for path in scripts.glob("*"):
            if path.is_file() and path.read_bytes()[:2] == b"#!":
                path.unlink()
    (folder / ".lock").unlink(missing_ok=True)
    if compiler is not None and compiler != runtime.python:
        with contextlib.suppress(ProcessError):
            # Nobody changes the sources, and where to ask for their times is slow, the worker does not (PEP 552).
            words = ("-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash")
            process.run([compiler, "-I", "-m", "compileall", *words, folder], check=False)


def compiler_for(runtime: Runtime) -> Path | None:
    """Find an interpreter that compiles byte-code for *runtime* at native speed.

    The format is the minor version's, whatever the architecture (``importlib.util.MAGIC_NUMBER``).
    """
    if not runtime.emulated and not runtime.under:
        return runtime.python
    if runtime.native is not None:
        return runtime.native
    if (
        runtime.implementation == sys.implementation.name == "cpython"
        and runtime.version[:2] == sys.version_info[:2]
        and not runtime.free_threaded
    ):
        return Path(sys.executable)
    return None


# --- requirements ----------------------------------------------------------------------------------------------------


def _write_constraints(scratch: Path, installed: Installed) -> Path:
    lines = [f"{name}=={version}" for name, version in installed.distributions if (name, version) != installed.wheel]
    path = scratch / "constraints.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _write_requirements(
    scratch: Path, wheel: Wheel, installed: Installed, requirements: Sequence[str], project: Path | None
) -> list[Path]:
    """Write what is asked for into files, the wheel too, so that nothing else can bear its name."""
    own = _Own(wheel, project)
    lines = [*TOOLS, installed.requirement]
    files = []
    for entry in requirements:
        if match := re.fullmatch(r"\s*(?:-r|--requirements?)[\s=]*(\S.*?)\s*", entry):
            path = Path(match[1]).absolute()
            if not path.is_file():
                raise InstallError(
                    f"the requirements file {match[1]} is not there",
                    cause=f"it is looked for in {Path.cwd()}",
                    fix="correct --wheel-requires",
                )
            files.append(_rewritten(path, own, scratch, ()))
        else:
            lines.append(own.replace(entry) or entry)
    listed = scratch / "requirements.in"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [listed, *files]


class _Own:
    """Knows the lines by which requirements name the wheel's own project: by a URL, or as a folder."""

    def __init__(self, wheel: Wheel, project: Path | None) -> None:
        self.wheel = wheel
        self.project = project

    def replace(self, line: str) -> str | None:
        """Give the line to write instead, or ``None`` where *line* is not about the project or may stay.

        ``pkg[test]>=1`` stays: with the wheel as a requirement beside it, uv takes the wheel.
        """
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        text = re.sub(r"^(-e|--editable)[\s=]*", "", text)
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            match = re.fullmatch(r"(?P<path>[^\[\];]+?)(?:\[(?P<extras>[^\]]*)\])?(?P<marker>\s*;.*)?", text)
            if match is None or text.startswith("-") or not self._is_project(match["path"]):
                return None
            extras = [extra.strip() for extra in (match["extras"] or "").split(",") if extra.strip()]
            return _requirement(self.wheel, extras) + (f" {match['marker'].strip()}" if match["marker"] else "")
        if requirement.url is None or not _same(requirement.name, self.wheel.name):
            return None
        marker = f" ; {requirement.marker}" if requirement.marker else ""
        return _requirement(self.wheel, requirement.extras) + marker

    def _is_project(self, text: str) -> bool:
        folder = Path(text.removeprefix("file://").removeprefix("file:"))
        try:
            if not (folder / "pyproject.toml").is_file():
                return False
            if self.project is not None and folder.samefile(self.project):
                return True
            table: Mapping[str, object] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get(
                "project", {}
            )
        except (OSError, ValueError):
            return False
        return _same(str(table.get("name", "")), self.wheel.name)


def _rewritten(path: Path, own: _Own, scratch: Path, above: tuple[Path, ...]) -> Path:
    """Give *path*, or a copy of it in *scratch* where it, or a file that it includes, names the wheel's project."""
    if path in above:
        return path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return path  # uv says what is wrong with it
    changed = False
    lines = []
    for line in _logical_lines(text):
        new = line
        if match := re.match(r"\s*(-r|--requirements?|-c|--constraints?)[\s=]*(\S+)", line):
            # Files are named relative to the file that names them, local projects relative to the current folder.
            inner = (path.parent / match[2]) if "://" not in match[2] else None
            if inner is not None:
                target = (
                    inner if match[1].startswith(("-c", "--c")) else _rewritten(inner, own, scratch, (*above, path))
                )
                changed |= target != inner
                new = f"{match[1]} {target.as_posix()}"
        elif (replaced := own.replace(line)) is not None:
            changed, new = True, replaced
        lines.append(new)
    if not changed:
        return path
    copy = scratch / f"{len(list(scratch.iterdir()))}-{path.stem}.txt"
    copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return copy


def _logical_lines(text: str) -> Iterator[str]:
    return iter(re.sub(r"\\\r?\n", " ", text).splitlines())

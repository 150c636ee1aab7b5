"""Overlay: pytest and the test requirements, behind a wheel's environment.

The overlay is a directory that is put *behind* the environment's site-packages on ``sys.path``: it can add modules, never
replace one, and is not there while the wheel is imported on its own. Environment and overlay are resolved to agree; if
they cannot, the tools go into a second environment, and the run says so.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from pytest_wheelcheck.backends.base import Environment, Runtime
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.settings import Named, as_option
from pytest_wheelcheck.system import cache, directories, process, temporary, uv, uv_errors
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.preparing.bytecode import compile_bytecode
from pytest_wheelcheck.targets.preparing.dependency_groups import check_groups
from pytest_wheelcheck.targets.preparing.install import Distribution, InstalledWheel, list_distributions
from pytest_wheelcheck.targets.preparing.requirements import TOOLS, OwnProject, write_constraints, write_requirements
from pytest_wheelcheck.targets.preparing.resolution import options
from pytest_wheelcheck.targets.preparing.rewriting import RESULTS, rewrite_plugins
from pytest_wheelcheck.targets.preparing.tool_errors import Requested

#: Part of every key: a new number invalidates all cached overlays.
_GENERATION = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """pytest and the test requirements, for one environment.

    :param environment: where the tests run: the wheel's own environment, or, after a conflict, another one into which
        the wheel was installed together with the tools.
    :param path: the directory to put behind site-packages; ``None`` after a conflict, when there is nothing to put.
    :param distributions: the content of *path*; after a conflict, of *environment*.
    :param conflict: why the tools conflict with the wheel's environment, as the installer's output; or empty.
    :param moved: after a conflict, the wheel's dependencies that have another version next to the tools: name, version
        in the wheel's environment, version next to the tools (empty if it is gone).
    :param seconds: wall time.
    :param missing: as in :class:`~pytest_wheelcheck.targets.preparing.install.InstalledWheel`, after a conflict.
    """

    environment: Environment
    path: Path | None
    distributions: tuple[Distribution, ...]
    conflict: str = ""
    moved: tuple[tuple[str, str, str], ...] = ()
    seconds: float = 0.0
    missing: str = ""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The directories to put behind site-packages."""
        return () if self.path is None else (self.path,)

    @property
    def has_native_modules(self) -> bool:
        """Whether *path* contains native modules or libraries."""
        found = (name for path in self.paths for _, _, names in os.walk(path) for name in names)
        return any(".so" in name or name.endswith((".pyd", ".dll", ".dylib")) for name in found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """pytest, pytest-timeout and the test requirements, as a run asks for them.

    :param requirements: requirement strings, local paths, or ``-r FILE`` (relative to the working directory, as in pip).
    :param project: the directory of the ``pyproject.toml`` that has *groups*.
    :param groups: names of dependency groups (PEP 735).
    :param settings: where packages come from.
    :param named: see :data:`~pytest_wheelcheck.settings.Named`.
    :param newest: resolve to the newest versions, whatever uv's own configuration says.
    :param linked: the files in the environment may be hard links to those of the cache: code under test can write to both
        anyway.
    """

    requirements: Sequence[str] = ()
    project: Path | None = None
    groups: Sequence[str] = ()
    settings: InstallSettings
    named: Named = as_option
    newest: bool = False
    linked: bool = False

    @property
    def requested(self) -> Requested:
        """What the errors of the installer are explained by."""
        return Requested(requirements=self.requirements, groups=self.groups, project=self.project, named=self.named)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolFiles:
    """The result of :func:`provide_tools`.

    :param basis: what it depends on, of the environment; see :func:`_basis`.
    :param conflict: the installer's answer if the tools conflict with the wheel's environment. Then there are no files.
    """

    basis: object
    conflict: process.CompletedProcess | None = None


def _basis(installed: InstalledWheel) -> object:
    present = sorted((canonicalize_name(name), version) for name, version in installed.distributions)
    return installed.requirement, canonicalize_name(installed.wheel[0]), present


def _arguments(tools: Tools, wheel: Wheel, installed: InstalledWheel, scratch: Path) -> list[str | Path]:
    """Return the installer's arguments for the tools next to the wheel.

    :param scratch: a directory for the files that they name.
    """
    own = OwnProject(wheel=wheel, directory=tools.project)
    listed = write_requirements(scratch, own, installed, tools.requirements, tools.named)
    arguments: list[str | Path] = ["-r", listed, *options("highest" if tools.newest else "")]
    for group in tools.groups:
        arguments += ["--group", f"{tools.project}{os.sep}pyproject.toml:{group}"]
    if tools.groups:
        # The project's sources may say that its own name is its own directory.
        arguments += ["--no-sources-package", installed.wheel[0]]
    return arguments


def provide_tools(
    tools: Tools, runtime: Runtime, wheel: Wheel, installed: InstalledWheel, directory: Path
) -> ToolFiles:
    """Resolve the tools to pins that agree with an environment, and install them into a directory.

    Resolved tools are cached with bytecode.

    :param installed: the content of the environment. It need not exist yet.
    :param directory: is filled, unless there is a conflict; need not exist.
    :raises InstallError: the tools are not available.
    """
    check_groups(tools.groups, tools.project, tools.named)
    with temporary.directory() as scratch:
        _, listed, *arguments = _arguments(tools, wheel, installed, scratch)
        present = [name for name, _ in installed.distributions]
        constraints = write_constraints(scratch, installed)
        # Without the distributions that the environment has.
        completed = uv.run(
            [
                *("compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"),
                *runtime.backend.uv_arguments(runtime),
                *(listed, *arguments, "-c", constraints),
                *(argument for name in present for argument in ("--no-emit-package", name)),
            ],
            tools.settings,
        )
    if uv_errors.is_conflict(completed):
        return ToolFiles(basis=_basis(installed), conflict=completed)
    if completed.returncode != 0:
        raise tools.requested.error("pytest and the test requirements cannot be resolved", completed)
    directory.parent.mkdir(parents=True, exist_ok=True)
    _fill(directory, runtime, completed.stdout, tools)
    return ToolFiles(basis=_basis(installed))


def make_overlay(
    tools: Tools,
    runtime: Runtime,
    environment: Environment,
    wheel: Wheel,
    installed: InstalledWheel,
    directory: Path,
    *,
    provided: ToolFiles | None = None,
) -> Overlay:
    """Make the overlay of an environment, from the test tools.

    The environment stays as it is: only what it lacks goes into the directory. Requirements that name the
    wheel's project are met by the wheel.

    :param installed: the content of *environment*.
    :param directory: has the tools, or gets them.
    :param provided: of an earlier :func:`provide_tools`; is used if the environment has the content that was assumed.
    :raises InstallError: the tools are not available, or cannot be combined with the wheel.
    """
    start = time.monotonic()
    if provided is None or provided.basis != _basis(installed):
        if provided is not None:
            for path in (directory, directory.with_name(RESULTS)):
                directories.remove(path)
        provided = provide_tools(tools, runtime, wheel, installed, directory)
    if provided.conflict is None:
        _redirect_scripts(directory, environment)
        return Overlay(
            environment=environment,
            path=directory,
            distributions=list_distributions([directory]),
            seconds=time.monotonic() - start,
        )
    second = runtime.backend.create_environment(runtime, directory)
    with temporary.directory() as scratch:
        arguments = _arguments(tools, wheel, installed, scratch)
        result = runtime.backend.install(runtime, second, arguments, tools.settings)
    if result.completed.returncode != 0:
        raise tools.requested.error(f"the test requirements conflict with {wheel.shown}", result.completed)
    distributions = list_distributions(second.site_directories)
    return Overlay(
        environment=second,
        path=None,
        distributions=distributions,
        conflict=uv_errors.output(provided.conflict),
        moved=_moved(installed.distributions, distributions),
        seconds=time.monotonic() - start,
        missing=result.missing,
    )


def check_tools(directory: Path, settings: InstallSettings) -> None:
    """Check that pytest can be resolved, with the configured index and uv's cache. Every overlay needs it.

    :param directory: an existing directory for a file.
    :raises InstallError: it cannot; what the user can do is in the error.
    """
    listed = directory / "requirements.in"
    listed.write_text("".join(f"{tool}\n" for tool in TOOLS), encoding="utf-8")
    completed = uv.run(["compile", "--quiet", "--python", sys.executable, listed], settings)
    if completed.returncode != 0:
        raise uv_errors.install_error("pytest cannot be resolved", completed)


def _moved(before: Iterable[Distribution], after: Iterable[Distribution]) -> tuple[tuple[str, str, str], ...]:
    now = {canonicalize_name(name): version for name, version in after}
    pairs = [(name, version, now.get(canonicalize_name(name), "")) for name, version in before]
    return tuple(pair for pair in pairs if pair[1] != pair[2])


def _fill(directory: Path, runtime: Runtime, pins: str, tools: Tools) -> None:
    """Install *pins* into *directory*: from the cache if they identify their content, else directly."""
    settings = tools.settings
    # An editable project would be reached through a .pth file, which is only obeyed in site-packages.
    pins = re.sub(r"^-e ", "", pins, flags=re.MULTILINE)
    if not _identify_content(pins):
        _install(directory, runtime, pins, settings)
        return
    compiler = runtime.backend.bytecode_compiler(runtime)
    name = f"{runtime.interpreter}-{runtime.platform.name}"
    bytecode = "plain" if compiler is None else "unchecked"
    digest = cache.digest(str(_GENERATION), pins, name, runtime.installation.version_text, uv.version(), bytecode)

    def make(side: Path) -> None:
        _install(side / "site", runtime, pins, settings)
        (side / RESULTS).mkdir()
        rewrite_plugins(runtime, side / "site", side / RESULTS)
        (side / "listing").write_text(_listing(side / "site"), encoding="utf-8")

    key = f"overlays/{name}-{digest}"
    made = cache.provision(key, make)
    if not _is_whole(made):
        # A cleaner of old files, a full disk or a test changed it.
        cache.remove(key)
        made = cache.provision(key, make)
    copy = _link_or_copy if tools.linked else shutil.copy2
    shutil.copytree(made / "site", directory, symlinks=True, dirs_exist_ok=True, copy_function=copy)
    shutil.copytree(made / RESULTS, directory.with_name(RESULTS), dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    """Make a hard link, or a copy if the file system allows no link: it is another one, or the file has too many links.

    A link is made in a tenth of the time. A test that writes to a file of the tools changes the cache as well; the next run
    notices it (:func:`_is_whole`).
    """
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)


def _redirect_scripts(directory: Path, environment: Environment) -> None:
    """Make the console scripts of the tools start the environment's interpreter, which finds wheel and tools.

    They are written for the runtime's own interpreter. Tests start some of them by name (``coverage``, ``pytest``).
    """
    # The interpreter's path may be too long for the first line, or have a space: a shell starts it, as installers do it.
    start = f"#!/bin/sh\n'''exec' {shlex.quote(str(environment.python))} \"$0\" \"$@\"\n' '''\n"
    for path in (directory / "bin").glob("*"):
        first, _, rest = (path.read_bytes() if path.is_file() else b"").partition(b"\n")
        if first == b"#!/bin/sh" and rest.startswith(b"'''exec'"):
            rest = b"".join(rest.splitlines(keepends=True)[2:])
        elif not (first.startswith(b"#!") and b"python" in first):
            continue
        mode = path.stat().st_mode
        # Not in place: it may be a link to the file in the cache.
        path.unlink()
        path.write_bytes(start.encode("utf-8", "surrogateescape") + rest)
        path.chmod(mode)


def _is_whole(made: Path) -> bool:
    try:
        return (made / "listing").read_text(encoding="utf-8") == _listing(made / "site")
    except (OSError, UnicodeDecodeError):
        return False


def _listing(site: Path) -> str:
    """Return a digest of the names, sizes and times of a tree's files: quickly made, and different after every damage."""
    found = []
    for parent, _, names in os.walk(site):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  called for a thousand files
            status = os.lstat(path)
            found.append(f"{path[len(os.fspath(site)) :]}\0{status.st_size}\0{status.st_mtime_ns}")
    return cache.digest(*sorted(found))


def _identify_content(pins: str) -> bool:
    """Return whether every pin identifies its content: by hash, or by the commit of a repository."""
    joined = pins.replace("\\\n", " ")
    return all(
        "--hash=" in line or re.search(r"@ git\+\S+@[0-9a-f]{40}\b", line)
        for line in joined.splitlines()
        if line.strip()
    )


def _install(directory: Path, runtime: Runtime, pins: str, settings: InstallSettings) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if not pins.strip():
        return
    backend = runtime.backend
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as scratch:
        listed = Path(scratch, "pins.txt")
        listed.write_text(pins, encoding="utf-8")
        completed = uv.run(
            [
                *("install", *backend.uv_arguments(runtime), "--target", directory, "--no-deps", "--link-mode", "copy"),
                *("-r", listed),
            ],
            settings,
        )
    if completed.returncode != 0:
        raise uv_errors.install_error("pytest and the test requirements cannot be installed", completed)
    (directory / ".lock").unlink(missing_ok=True)
    compile_bytecode(backend.bytecode_compiler(runtime), directory)

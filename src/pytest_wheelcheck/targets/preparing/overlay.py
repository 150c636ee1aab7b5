"""Overlay: pytest and the test requirements, behind a wheel's environment.

The overlay is a directory that is put *behind* the environment's site-packages on ``sys.path``: it can add modules, never
replace one, and is not there while the wheel is imported on its own. Environment and overlay are resolved to agree; if
they cannot, the tools go into a second environment, and the run says so.
"""

from __future__ import annotations

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
from pytest_wheelcheck.system import cache, process, uv, uv_errors
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


def make_overlay(
    runtime: Runtime,
    environment: Environment,
    wheel: Wheel,
    installed: InstalledWheel,
    directory: Path,
    *,
    requirements: Sequence[str],
    project: Path | None,
    groups: Sequence[str],
    settings: InstallSettings,
    named: Named = as_option,
    newest: bool = False,
) -> Overlay:
    """Install pytest, pytest-timeout and the test requirements into a directory for behind *environment*.

    The environment stays as it is: only what it lacks goes into the directory. Requirements that name the
    wheel's project are met by the wheel. Resolved tools are cached with bytecode; each call gets a copy.

    :param installed: the content of *environment*.
    :param directory: is filled; need not exist.
    :param requirements: requirement strings, local paths, or ``-r FILE`` (relative to the working directory, as in pip).
    :param project: the directory of the ``pyproject.toml`` that has *groups*.
    :param groups: names of dependency groups (PEP 735).
    :param named: see :data:`~pytest_wheelcheck.settings.Named`.
    :param newest: resolve to the newest versions, whatever uv's own configuration says.
    :raises InstallError: the tools are not available, or cannot be combined with the wheel.
    """
    start = time.monotonic()
    check_groups(groups, project, named)
    requested = Requested(requirements=requirements, groups=groups, project=project, named=named)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".requirements-") as scratch:
        own = OwnProject(wheel=wheel, directory=project)
        listed = write_requirements(Path(scratch), own, installed, requirements, named)
        arguments: list[str | Path] = [*options("highest" if newest else "")]
        for group in groups:
            arguments += ["--group", f"{project}{os.sep}pyproject.toml:{group}"]
        if groups:
            # The project's sources may say that its own name is its own directory.
            arguments += ["--no-sources-package", installed.wheel[0]]
        present = [name for name, _ in installed.distributions]
        constraints = write_constraints(Path(scratch), installed)
        pins = _resolve(runtime, [listed, *arguments, "-c", constraints], present, settings, requested)
        if not isinstance(pins, process.CompletedProcess):
            _fill(directory, runtime, pins, settings)
            _redirect_scripts(directory, environment)
            return Overlay(
                environment=environment,
                path=directory,
                distributions=list_distributions([directory]),
                seconds=time.monotonic() - start,
            )
        conflict = uv_errors.output(pins)
        second = runtime.backend.create_environment(runtime, directory)
        result = runtime.backend.install(runtime, second, ["-r", listed, *arguments], settings)
        if result.completed.returncode != 0:
            raise requested.error(f"the test requirements conflict with {wheel.shown}", result.completed)
    distributions = list_distributions(second.site_directories)
    return Overlay(
        environment=second,
        path=None,
        distributions=distributions,
        conflict=conflict,
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


def _resolve(
    runtime: Runtime,
    arguments: Sequence[str | Path],
    present: Iterable[str],
    settings: InstallSettings,
    requested: Requested,
) -> str | process.CompletedProcess:
    """Resolve to pins with hashes, without the distributions *present*; or return uv's answer if requirements conflict."""
    completed = uv.run(
        [
            *("compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"),
            *runtime.backend.uv_arguments(runtime),
            *arguments,
            *(argument for name in present for argument in ("--no-emit-package", name)),
        ],
        settings,
    )
    if uv_errors.is_conflict(completed):
        return completed
    if completed.returncode != 0:
        raise requested.error("pytest and the test requirements cannot be resolved", completed)
    return completed.stdout


def _fill(directory: Path, runtime: Runtime, pins: str, settings: InstallSettings) -> None:
    """Install *pins* into *directory*: from the cache if they identify their content, else directly."""
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
    shutil.copytree(made / "site", directory, symlinks=True, dirs_exist_ok=True)
    shutil.copytree(made / RESULTS, directory.with_name(RESULTS), dirs_exist_ok=True)


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
        path.write_bytes(start.encode("utf-8", "surrogateescape") + rest)


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

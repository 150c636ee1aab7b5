"""``wheelcheck runtime install``, ``runtime path`` and ``exec``: interpreters of other architectures and versions."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog, make_catalog
from pytest_wheelcheck.cli import output
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError, UsageError, did_you_mean
from pytest_wheelcheck.interpreters.architectures import ALIASES, ARCHITECTURES
from pytest_wheelcheck.interpreters.base import Offer, Request, here, install_command
from pytest_wheelcheck.interpreters.directory.sysroots import Sysroot, parse_sysroots
from pytest_wheelcheck.interpreters.registry import parse_names
from pytest_wheelcheck.interpreters.windows.platforms import PLATFORMS
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import process, progress, temporary, uv_errors
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.planning.specs import Interpreter, parse_specs
from pytest_wheelcheck.targets.preparing.dependency_groups import check_groups
from pytest_wheelcheck.targets.preparing.requirements import check_files

if TYPE_CHECKING:
    from pytest_wheelcheck.cli.output import Subparsers

#: The help of an argument that :func:`parse_platform` reads.
PLATFORM_HELP = "an architecture such as aarch64, with the prefix musllinux- for musl; or win_amd64, win32"

#: A version in the place of an architecture.
_VERSION = re.compile(r"(cp|pp|pypy)?\d(\.|\d|$)")

#: The names of the interpreter itself.
_PYTHON = re.compile(r"python(3(\.\d+t?)?)?")


def declare(commands: Subparsers, runtime_actions: Subparsers) -> None:
    """Declare the commands.

    :param runtime_actions: the actions of ``wheelcheck runtime``.
    """
    parser = runtime_actions.add_parser(
        "install",
        help="fetch an interpreter for later runs without network",
        epilog="Exit status 1 if one of the interpreters is not available.",
    )
    _declare_interpreter(parser, nargs="*")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_install)
    parser = runtime_actions.add_parser(
        "path",
        help="print the path of an installed interpreter, for tox, uv, make",
        epilog="Exit status 1 if it is not installed.",
    )
    _declare_interpreter(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_path)
    parser = commands.add_parser(
        "exec",
        help="run a program in an interpreter's environment: exec aarch64 3.13 -- python",
        epilog="The exit status is that of the program; 1 if the interpreter is not available, or the program does not start.",
    )
    parser.add_argument("architecture", nargs="?", default="", help=f"{PLATFORM_HELP}; without it, this host's")
    parser.add_argument(
        "version",
        nargs="?",
        default="",
        help="such as 3.13 or 3.14t; without it, that of the Python that runs this command",
    )
    declare_sources(parser)
    parser.add_argument(
        "--with",
        action="append",
        default=[],
        dest="packages",
        metavar="REQUIREMENT",
        help="install this into a temporary environment, and run the program there; also a wheel, or '-r FILE'",
    )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        dest="groups",
        metavar="NAME",
        help="install a dependency group of pyproject.toml there; FILE:NAME for that of another directory",
    )
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- PROGRAM ...", help="default: python")
    parser.set_defaults(run=_exec, program=None)


def _declare_interpreter(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    parser.add_argument("architecture", help=PLATFORM_HELP)
    parser.add_argument("version", nargs=nargs, help="such as 3.13 or 3.14t")
    declare_sources(parser)


def declare_sources(parser: argparse.ArgumentParser) -> None:
    """Declare the options that :meth:`Sources.from_args` reads."""
    parser.add_argument("--apt-source", default="", metavar="LINE", help="see the ini key wheel_apt_source")
    parser.add_argument("--providers", action="append", default=[], metavar="NAMES", help="see --wheel-providers")
    parser.add_argument("--sysroot", action="append", default=[], metavar="ARCH=PATH", help="see --wheel-sysroot")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Sources of interpreters that the user names, in addition to the usual ones.

    :param apt_source: a package repository; see :func:`~pytest_wheelcheck.backends.catalog.make_catalog`.
    :param sysroots: root file systems with interpreters.
    :param providers: names of the allowed providers, in the order of preference; empty for the default.
    """

    apt_source: str = ""
    sysroots: tuple[Sysroot, ...] = ()
    providers: tuple[str, ...] = ()

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Sources:
        """Read the options.

        :raises UsageError: a value is invalid.
        """
        return cls(
            apt_source=args.apt_source,
            sysroots=parse_sysroots(args.sysroot, lambda *_: "--sysroot"),
            providers=parse_names(args.providers, "--providers"),
        )

    def catalog(self, *, offline: bool) -> Catalog:
        """Return all providers and backends."""
        return make_catalog(
            offline=offline, apt_source=self.apt_source, sysroots=self.sysroots, providers_allowed=self.providers
        )


def parse_platform(text: str) -> Platform:
    """Read ``aarch64``, ``linux-aarch64``, ``musllinux-aarch64``, ``win_amd64``, ``win32`` or ``host``.

    :raises UsageError: the platform is unknown.
    """
    if text == "host":
        return here()
    if text in PLATFORMS:
        return PLATFORMS[text]
    libc = "musl" if text.startswith("musllinux-") else "glibc"
    name = re.sub(r"^(musl)?linux-", "", text)
    name = ALIASES.get(name, name)
    if name not in ARCHITECTURES:
        known = f"use one of {', '.join(ARCHITECTURES)}, win_amd64, win32"
        guess = did_you_mean(name, [*ARCHITECTURES, *ALIASES, *PLATFORMS], cutoff=0.7)
        fix = f"{guess} Otherwise {known}" if guess else known
        raise UsageError(f"{text}: unknown architecture", fix=fix)
    return Platform(system="linux", architecture=name, libc=libc)


def _parse_version(text: str) -> Interpreter:
    (spec,) = parse_specs([text])
    if spec.interpreter is None:
        raise UsageError(f"{text} is not a Python version", fix="use a version such as 3.13 or 3.14t")
    return spec.interpreter


def _obtain(platform: Platform, wanted: Interpreter, sources: Sources, *, offline: bool = False) -> Runtime:
    """Return an interpreter, fetched if necessary.

    :param offline: only if it is in the cache or on the host.
    :raises RuntimeUnavailableError: no provider has it.
    """
    catalog = sources.catalog(offline=offline)
    offers, reasons = catalog.ask(Request(platform=platform, wanted=frozenset({wanted.whole})))
    last_error = None
    fitting = [offer for offer in offers if _fits(offer, wanted)]
    # If the user named a source, no other provider replaces it.
    for offer in [offer for offer in fitting if offer.rank < 0] or fitting:
        try:
            return catalog.get(offer)
        except RuntimeUnavailableError as error:  # noqa: PERF203  the next provider is tried
            last_error = error
    if last_error is not None:
        raise last_error
    versions = ", ".join(sorted({offer.interpreter for offer in offers}))
    raise RuntimeUnavailableError(
        f"{wanted} for {platform.architecture} is not available{' offline' if offline else ''}",
        cause="; ".join(map(str, reasons)) or f"found {versions or 'none'}",
        fix=install_command(platform, wanted.short.replace("PyPy ", "pypy"))
        if offline
        else "run `wheelcheck doctor` to see what this host can run",
    )


def _fits(offer: Offer, wanted: Interpreter) -> bool:
    return (offer.implementation, offer.version[:2], offer.free_threaded) == wanted.whole


def _install(args: argparse.Namespace) -> int:
    """Fetch interpreters, and the emulator that they need."""
    sources = Sources.from_args(args)
    platform = parse_platform(args.architecture)
    versions = args.version or ["{}.{}".format(*sys.version_info[:2])]
    with progress.on_standard_error():
        installed = [_obtain(platform, _parse_version(text), sources) for text in versions]
    if args.json:
        output.write_json([_described(runtime) for runtime in installed])
    else:
        output.write(str(runtime.python) for runtime in installed)
    return 0


def _path(args: argparse.Namespace) -> int:
    """Print the path of an installed interpreter."""
    platform, version = parse_platform(args.architecture), _parse_version(args.version)
    runtime = _obtain(platform, version, Sources.from_args(args), offline=True)
    if args.json:
        output.write_json(_described(runtime))
    else:
        output.write([str(runtime.python)])
    return 0


def _exec(args: argparse.Namespace) -> int:
    """Replace this process by a program, with the interpreter's directory first in ``PATH``.

    The interpreters have no packages. With packages, and for pip itself, the program runs in a temporary environment.

    :returns: the program's exit status, on Windows or with packages.
    :raises ProcessError: it cannot be started.
    :raises InstallError: the packages cannot be installed.
    """
    platform, version, argv = _read_exec(args)
    with progress.on_standard_error():
        runtime = _obtain(platform, version, Sources.from_args(args))
    program, *rest = argv or ["python"]
    packages = [*_installed(args), *(["pip"] if _is_pip([program, *rest]) else [])]
    if "pip" in packages and _hides_c_library(runtime):
        sys.stderr.write(
            f"wheelcheck: pip finds no {'musllinux' if runtime.platform.libc == 'musl' else 'manylinux'} wheels there, because "
            "the interpreter is started by a launcher; to install some, use --with REQUIREMENT\n"
        )
        sys.stderr.flush()
    if packages:
        return _run_with(runtime, packages, program, rest)
    env = _environment_of(runtime.python.parent)
    if _PYTHON.fullmatch(program):
        program = str(runtime.python)
    return process.exec_program([program, *rest], env)


def _read_exec(args: argparse.Namespace) -> tuple[Platform, Interpreter, list[str]]:
    """Return the platform, the interpreter and the program; the default for each that is missing.

    :raises UsageError: a word is neither an architecture, nor a version, nor a program.
    """
    words = [word for word in (args.architecture, args.version, *args.argv) if word]
    platform, wanted = here(), _running()
    if words and not _VERSION.match(words[0]):
        try:
            platform = parse_platform(words[0])
            del words[0]
        except UsageError as error:
            if not _is_program(words):
                raise UsageError(error.message, fix=f"{error.fix}; write -- before a program") from None
    if words and _VERSION.match(words[0]):
        wanted = _parse_version(words.pop(0))
    if words and args.program is not None:
        # Without a separator before it, the program had one of its own.
        words = [*words, "--", *args.program]
    return platform, wanted, words or args.program or []


def _installed(args: argparse.Namespace) -> list[str]:
    """Return the installer's arguments for the packages and groups.

    :raises InstallError: a dependency group or a requirements file does not exist.
    """
    here = Path.cwd()
    check_files(args.packages, here, lambda *_: "--with")
    arguments = []
    for text in args.packages:
        file = re.match(r"(?:-r|--requirements?)[\s=]*(.*)", text)
        arguments += [text] if file is None else ["-r", file[1]]
        if args.groups and (wheel := re.match(r"(?:.*[/\\])?([^-/\\]+)-[^/\\]*\.whl", text)):
            # The sources of the groups' project may say that its own name is its own directory.
            arguments += ["--no-sources-package", wheel[1]]
    for text in args.groups:
        file, _, name = text.rpartition(":")
        project = Path(file or "pyproject.toml").absolute().parent
        check_groups([name], project, lambda _, value: f"--group {value}")
        arguments += ["--group", f"{project / 'pyproject.toml'}:{name}"]
    return arguments


def _running() -> Interpreter:
    """Return the interpreter that runs this command."""
    return Interpreter(
        version=sys.version_info[:2],
        implementation=sys.implementation.name,
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    )


def _is_program(words: Sequence[str]) -> bool:
    """Return whether words start with a program instead of an architecture that is not known."""
    if len(words) > 1 and _VERSION.match(words[1]):
        return False
    return _PYTHON.fullmatch(words[0]) is not None or shutil.which(words[0]) is not None


def _run_with(runtime: Runtime, packages: Sequence[str], program: str, rest: Sequence[str]) -> int:
    """Run a program in a temporary environment with some packages.

    :returns: the program's exit status.
    :raises InstallError: the packages cannot be installed.
    :raises ProcessError: the program cannot be started.
    """
    with temporary.directory() as work:
        environment = runtime.backend.create_environment(runtime, work / "environment")
        result = runtime.backend.install(runtime, environment, packages, InstallSettings())
        if result.completed.returncode != 0:
            names = [text for text in packages if not text.startswith("-")]
            raise uv_errors.install_error(f"{', '.join(names)} cannot be installed", result.completed)
        env = _environment_of(environment.scripts)
        if _PYTHON.fullmatch(program):
            argv = [str(environment.python), *rest]
        elif program == "pip":
            argv = [str(environment.python), "-m", "pip", *rest]
        else:
            argv = [shutil.which(program, path=env["PATH"]) or program, *rest]
        try:
            status = subprocess.run(argv, env=env, check=False).returncode
        except OSError as error:
            raise ProcessError(f"{program} cannot be started: {error.strerror or error}") from None
    return status if status >= 0 else 128 - status


def _is_pip(argv: Sequence[str]) -> bool:
    """Return whether a program is pip, which the interpreters do not have."""
    return argv[0] == "pip" or (bool(_PYTHON.fullmatch(argv[0])) and list(argv[1:3]) == ["-m", "pip"])


def _hides_c_library(runtime: Runtime) -> bool:
    """Return whether pip cannot find out which C library an interpreter has: it reads its executable, which is a launcher.

    Source: ``packaging._musllinux`` and ``packaging._manylinux._have_compatible_abi``.
    """
    platform = runtime.platform
    reads = platform.libc == "musl" or platform.architecture in {"armv7l", "i686"}
    return reads and runtime.python != runtime.installation.program


def _environment_of(directory: Path) -> dict[str, str]:
    """Return the environment variables of a program, with a directory first in ``PATH``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env["PATH"] = os.pathsep.join((str(directory), env.get("PATH", os.defpath)))
    return env


def _described(runtime: Runtime) -> dict[str, Any]:
    installation = runtime.installation
    return {
        "name": runtime.name,
        "python": str(runtime.python),
        "version": installation.version_text,
        "architecture": installation.platform.architecture,
        "libc": f"{installation.platform.libc} {'.'.join(map(str, installation.libc_version))}",
        "emulated": runtime.backend.emulated,
        "provider": installation.provider,
        "how": installation.how,
        "assembled": installation.assembled,
    }

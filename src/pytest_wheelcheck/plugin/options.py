"""The options, ini keys and markers, each declared once: pytest's parser, ``--help`` and the reference page use these."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_wheelcheck.backends.command_line import (
    BOARD_ENV,
    BOARD_PYTHON,
    BOARDS,
    HOST,
    MACHINE,
    NO_WINDOWS,
    PUSH,
    SYSROOT,
    WINDOWS,
)
from pytest_wheelcheck.declarations import DEFAULT_EXECUTABLES, IniKey, Option

if TYPE_CHECKING:
    import pytest


OPTIONS = (
    Option(
        "--wheel",
        "Test this built wheel: a file, a directory of wheels or a quoted glob; or those of a release on the package index: "
        "pypi:NAME, pypi:NAME==1.2, pypi:NAME@previous, pypi:NAME/PATTERN. Other *.whl arguments are tested too; all other "
        "arguments are test paths, which are collected and run in the interpreters that the wheels are for.",
        "PATH",
        repeat=True,
    ),
    Option(
        "--wheel-python",
        "Interpreters for wheels that support several: auto (the oldest and the newest available; the default), all, a "
        "list such as 3.11,3.13,3.14t,pypy3.11, or the path of an interpreter.",
        "SPEC",
        repeat=True,
    ),
    Option(
        "--wheel-providers",
        "Where interpreters may come from, the preferred one first: some of host, uv, debian, published, windows. Default: "
        "all, in this order, but for another architecture debian comes before uv. Overrides the ini key.",
        "NAMES",
        repeat=True,
    ),
    MACHINE,
    HOST,
    BOARD_PYTHON,
    SYSROOT,
    Option(
        "--wheel-requires",
        "A requirement of the tests, or the path of a requirements file.",
        "REQUIREMENT",
        repeat=True,
    ),
    Option(
        "--wheel-group",
        "A dependency group of pyproject.toml that the tests need (PEP 735).",
        "NAME",
        repeat=True,
    ),
    Option(
        "--wheel-resolution",
        "Versions of the wheels' dependencies: highest, lowest-direct (the oldest that the wheel declares, of its own "
        "dependencies), or lowest (also of theirs). Test requirements stay at the newest. Overrides the ini key.",
        "NAME",
    ),
    Option("--wheel-extra", "Install the wheels with this extra.", "NAME", repeat=True),
    Option(
        "--wheel-find-links",
        "A directory or page to search for dependencies, in addition to the package index.",
        "PATH",
        repeat=True,
    ),
    Option("--wheel-index", "The package index to install dependencies from.", "URL"),
    Option("--wheel-offline", "Do not use the network. Use only the cache and --wheel-find-links."),
    Option(
        "--wheel-select",
        "Run only the static checks with these codes or prefixes. An archive that is not safe to install fails all the same, "
        "unless --wheel-ignore names the check.",
        "CODES",
        repeat=True,
    ),
    Option("--wheel-ignore", "Skip the static checks with these codes or prefixes.", "CODES", repeat=True),
    Option(
        "--wheel-expect",
        "The expected wheels of the release, such as `cp312-cp314: manylinux_x86_64 macosx_arm64 win_amd64; cp39-abi3: "
        "win_arm64; sdist`. Missing and unexpected wheels fail the run. `previous` expects those of the previous release on "
        "the package index, and compares with it. Overrides the ini key.",
        "SPEC",
        repeat=True,
    ),
    Option(
        "--wheel-report",
        "Write a report to this file. The extension selects the format: .json, .md or .html.",
        "FILE",
        repeat=True,
    ),
    Option("--wheel-static", "Run only the static checks; do not install, import or run anything."),
    Option(
        "--wheel-strict",
        "Fail if a wheel could not be run anywhere, if no wheel could be run on an interpreter that --wheel-python names, or if "
        "auto or all had no interpreter of the oldest version of an abi3 tag, instead of skipping it.",
    ),
    Option(
        "--wheel-shard",
        "Test only a part of the targets: 2/5 is the second of five parts. Each part is a run of its own, such as a job of a CI "
        "service, and `wheelcheck merge` joins their JSON reports.",
        "NUMBER/COUNT",
    ),
    Option(
        "--wheel-jobs",
        "Number of targets to prepare and test in parallel. Default: as many as there are CPUs are prepared in parallel, "
        "but their tests run one target after the other, because tests of one project may share files or ports. "
        "Twice as many targets, and at least four, have a live worker after the collection.",
        "N",
        type=int,
    ),
    NO_WINDOWS,
    Option(
        "--wheel-sandbox",
        "Run imports, executables and tests in a sandbox (bubblewrap, Linux only): no network; home, source tree and "
        "cache are read-only; private /tmp. If no sandbox is available, the run ends with an error.",
    ),
    Option(
        "--wheel-no-sandbox",
        "Run wheels from the package index (--wheel pypi:NAME) without the sandbox, with your rights. By default they run in "
        "the sandbox, and where there is none, only static checks run.",
    ),
    Option(
        "--wheel-artifacts",
        "Collect what tests and crashes leave in each target in DIR/WHEEL/TARGET: the files that tests write to the directory "
        "that the variable WHEELCHECK_ARTIFACTS names, temporary directories of failed tests, core dumps, and the log of the "
        "worker; up to 500 MiB for each target.",
        "DIR",
    ),
    Option("--wheel-keep", "Keep the environments of all targets, and print their paths."),
    Option("--wheel-keep-failed", "Keep the environments of targets with failures, and print their paths."),
)

#: Options that say which nodes run, or what is done with the results. A repetition of a node does not take them over.
_NOT_REPEATED = {
    "--wheel",
    "--wheel-python",
    "--wheel-machine",
    "--wheel-host",
    "--wheel-expect",
    "--wheel-report",
    "--wheel-static",
    "--wheel-strict",
    "--wheel-shard",
    "--wheel-jobs",
    "--wheel-artifacts",
    "--wheel-keep",
    "--wheel-keep-failed",
}
#: The options that a repetition of a node needs, each with whether it has a value.
REPEATED = {option.flag: bool(option.metavar) for option in OPTIONS if option.flag not in _NOT_REPEATED}

INI_KEYS = (
    IniKey("wheel_requires", "Requirements of the tests, one per line.", "linelist", []),
    IniKey("wheel_groups", "Dependency groups that the tests need.", "args", []),
    IniKey("wheel_extras", "Extras to install the wheels with.", "args", []),
    IniKey("wheel_resolution", "Versions of the wheels' dependencies, as in --wheel-resolution."),
    IniKey(
        "wheel_import_ignore",
        "Patterns of dotted module names that the import check skips, one per line.",
        "linelist",
        [],
    ),
    IniKey(
        "wheel_source_ignore",
        "Patterns of files in the project's packages that the wheel need not contain, one per line. Other tracked files that "
        "are not in the wheel cause a warning.",
        "linelist",
        [],
    ),
    IniKey(
        "wheel_import_strict",
        "If importing a module raises an exception, and no package of the wheel imports that module, fail instead of "
        "warning.",
        "bool",
        default=False,
    ),
    IniKey(
        "wheel_executables",
        "Arguments to start the installed executables with, one `NAME: ARGUMENTS` per line, or `NAME: off` to not start "
        "one. NAME may be a pattern, and needs no suffix such as .exe. By default, executables in .data/scripts are "
        "started with --version, and console scripts are not started.",
        "linelist",
        [],
    ),
    IniKey(
        "wheel_overrides",
        "Options of pytest for some targets only, one `PATTERN: OPTIONS` per line, in the table [tool.wheelcheck] also as a "
        "table. PATTERN is for names of targets, as in `cp3*t-*: --parallel-threads=4` or `*-musllinux-*: -k 'not locale'`. "
        "All lines that match a target apply, in order, after the options of the command line.",
        "linelist",
        [],
    ),
    IniKey("wheel_entry_timeout", "Timeout for starting an executable, in seconds; 0 for none.", "float", 60.0),
    IniKey(
        "wheel_test_timeout",
        "Timeout for a test or import that does not set one itself, in seconds; 0 for none.",
        "float",
        600.0,
    ),
    WINDOWS,
    IniKey("wheel_timeout_scale", "Factor for all timeouts on emulated targets and on boards.", "float", 10.0),
    IniKey(
        "wheel_pty_patterns",
        "Words in the names of test files, classes and functions that mark a test as one that needs a pseudo-terminal "
        "(default: pty). If the key is set, it also applies to ordinary runs without --wheel.",
        "args",
        None,
    ),
    IniKey(
        "wheel_pty_calls",
        "Native functions of the project that open a pseudo-terminal, one dotted name per line. If a test fails in one on "
        "a target without pseudo-terminals, the report says so, and how to mark the test.",
        "linelist",
        [],
    ),
    IniKey(
        "wheel_max_size",
        "File size above which WHL807 warns: bytes, or a number with kB, MB, KiB, MiB or GiB.",
        "string",
        "100MiB",
    ),
    IniKey(
        "wheel_expect",
        "The expected wheels of the release, one clause per line: `INTERPRETERS: PLATFORMS`, `sdist`, `others` (what no clause "
        "names may be there, too), or `previous`.",
        "linelist",
        [],
    ),
    IniKey(
        "wheel_cache_size",
        "Size of the cache above which the end of a run suggests `wheelcheck cache prune`, as in wheel_max_size; 0 for never. "
        "It is measured once a day. The environment variable WHEELCHECK_CACHE_SIZE overrides it.",
        "string",
        "5GB",
    ),
    IniKey(
        "wheel_apt_source",
        "The package repository to fetch interpreters of other architectures from, instead of the host's, as a line of "
        "sources.list: deb [signed-by=FILE] URI SUITE main.",
    ),
    IniKey(
        "wheel_sysroots",
        "Root file systems with interpreters, one `ARCHITECTURE=PATH` per line. Relative paths start at the root directory.",
        "linelist",
        [],
    ),
    BOARDS,
    PUSH,
    BOARD_ENV,
    IniKey("wheel_providers", "Where interpreters may come from, as in --wheel-providers.", "args", []),
    IniKey("wheel_select", "Static checks to run: codes or prefixes.", "args", []),
    IniKey("wheel_ignore", "Static checks to skip: codes or prefixes.", "args", []),
)


#: The markers, as the ini key ``markers`` takes them; the targets' pytest gets them with its settings.
MARKERS = (
    (
        "pty: the test needs a pseudo-terminal and is skipped on targets without one (Windows); "
        "pty(False) exempts a test whose name matches wheel_pty_patterns."
    ),
    (
        "wheel_target(*, skip=False, reason='', **facts): run the test only on targets with these facts; with skip=True, "
        "skip it there, e.g. wheel_target(libc='glibc') or wheel_target(skip=True, emulated=True)."
    ),
)


def declare(parser: pytest.Parser) -> None:
    """Declare every option and key to pytest."""
    group = parser.getgroup("wheelcheck", "testing built wheels")
    for option in OPTIONS:
        attributes: dict[str, Any] = {"dest": option.dest, "help": option.help}
        if not option.metavar:
            attributes["action"] = "store_true"
        else:
            attributes.update(action="append" if option.repeat else "store", metavar=option.metavar, default=None)
            if option.repeat:
                attributes["default"] = []
            if option.type is not None:
                attributes["type"] = option.type
        group.addoption(option.flag, **attributes)
    for key in INI_KEYS:
        parser.addini(key.name, key.help, type=key.type, default=key.default)


def declare_markers(config: pytest.Config) -> None:
    """Declare the markers to pytest."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)


def drop_required_plugins(pluginmanager: pytest.PytestPluginManager) -> None:
    """With wheels, make the host's pytest ignore the ini key ``required_plugins``: the targets' pytest checks it."""
    config: Any = pluginmanager.getplugin("pytestconfig")
    if config is not None and _is_wheel_run(config):
        config.getini("required_plugins").clear()


def name_command(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Name ``wheelcheck test`` in the help and in usage errors, if that command runs pytest."""
    for plugin in pluginmanager.get_plugins():
        if command := getattr(plugin, "wheelcheck_command", ""):
            parser.prog = command


def _is_wheel_run(config: pytest.Config) -> bool:
    """Return whether ``--wheel`` is among the arguments, before pytest parses them."""
    more = os.environ.get("PYTEST_ADDOPTS", "").split()
    args = [*map(str, config.invocation_params.args), *more, *config.getini("addopts")]
    if any(text.startswith("@") for text in args):
        from pytest_wheelcheck.plugin.arguments import expand_files

        args = list(expand_files(args))
    # Other plugins have options with this prefix.
    return any(text == "--wheel" or text.startswith("--wheel=") for text in args)


def names_a_wheel(argument: str) -> bool:
    """Return whether an argument without an option in front of it is a wheel, or a node id of one."""
    path = argument.partition("::")[0]
    return path.endswith(".whl") or re.match(r"pypi:\w", path) is not None


def directory_of_wheels(config: pytest.Config) -> str:
    """Return the first given directory that has wheels; empty if there is none."""
    directories = (text for text in config.args if next((config.invocation_params.dir / text).glob("*.whl"), None))
    return next(directories, "")


def rules_apply(config: pytest.Config, items: Sequence[pytest.Item]) -> bool:
    """Return whether an ordinary run uses a marker of this plugin, or sets name patterns in the ini file."""
    return not config.option.wheel and (
        bool(config.getini("wheel_pty_patterns"))
        or any(mark.name in {"wheel_target", "pty"} for item in items for mark in item.iter_markers())
    )


def split_codes(values: Sequence[str]) -> tuple[str, ...]:
    """Split comma-separated codes."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def parse_executables(lines: Sequence[str]) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """Parse the ini key ``wheel_executables``.

    :returns: pairs of pattern and arguments (``None`` for off). The first match applies; the default is last.
    :raises ValueError: a line has another form than ``NAME: ARGUMENTS``.
    """
    executables: list[tuple[str, tuple[str, ...] | None]] = []
    for line in lines:
        name, colon, rest = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"{line!r} is not of the form `NAME: ARGUMENTS` or `NAME: off`")
        try:
            executables.append((name.strip(), None if rest.strip() == "off" else tuple(shlex.split(rest))))
        except ValueError as error:
            raise ValueError(f"{line!r}: {str(error).lower()}") from None
    return (*executables, DEFAULT_EXECUTABLES)


def default_jobs() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

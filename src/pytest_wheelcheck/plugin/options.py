"""The options and ini keys, each declared once: the command line, ``--help`` and the reference page come from here."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True, slots=True)
class Option:
    """A command line option.

    :param flag: such as ``--wheel-python``; its destination in ``config.option`` is the flag with underscores.
    :param help: one sentence.
    :param metavar: what stands for the value in help; empty for a switch.
    :param repeat: whether it may be given several times.
    :param type: converter of the value.
    :param choices: the values it takes.
    """

    flag: str
    help: str
    metavar: str = ""
    repeat: bool = False
    type: Callable[[str], Any] | None = None
    choices: tuple[str, ...] = ()

    @property
    def dest(self) -> str:
        """The attribute of ``config.option``."""
        return self.flag[2:].replace("-", "_")


@dataclass(frozen=True, slots=True)
class IniKey:
    """A key of the project's pytest configuration.

    :param type: as :meth:`pytest.Parser.addini` takes it.
    """

    name: str
    help: str
    type: Any = "string"
    default: Any = ""


OPTIONS = (
    Option(
        "--wheel",
        "Test this built wheel: a file, a folder of wheels or a quoted glob. Further *.whl arguments count too; other "
        "arguments are test paths, collected and run in the interpreters that the wheels are for.",
        "PATH",
        repeat=True,
    ),
    Option(
        "--wheel-python",
        "Interpreters for wheels that admit several: auto (the oldest and the newest that can be had; the default), all, "
        "a list such as 3.11,3.13,3.14t,pypy3.11, or the path of an interpreter.",
        "SPEC",
        repeat=True,
    ),
    Option(
        "--wheel-machine",
        "Pretend to be this hardware, in an emulator: rpi3, rpi4, rpi5, graviton2, graviton3, graviton4, x86-64-v1 to "
        "x86-64-v4, host, or cpu=MODEL,page=SIZE with QEMU's name of the model. Several give a target each.",
        "NAME",
        repeat=True,
    ),
    Option(
        "--wheel-sysroot",
        "Run wheels of this architecture with the interpreters of a root file system of yours (an unpacked image of a "
        "board, an export of a container), or with an installation or interpreter in one: aarch64=DIR. "
        "win_amd64=DIR and win32=DIR name a CPython for Windows, which runs under Wine.",
        "ARCH=PATH",
        repeat=True,
    ),
    Option(
        "--wheel-requires",
        "What the tests need: a requirement, or the path of a file of requirements.",
        "REQUIREMENT",
        repeat=True,
    ),
    Option("--wheel-group", "A dependency group of pyproject.toml that the tests need (PEP 735).", "NAME", repeat=True),
    Option("--wheel-extra", "Install the wheels with this extra.", "NAME", repeat=True),
    Option("--wheel-find-links", "A folder or page where dependencies may be found, too.", "PATH", repeat=True),
    Option("--wheel-index", "The package index to take dependencies from.", "URL"),
    Option("--wheel-offline", "Use no network: what is cached or lies in --wheel-find-links must do."),
    Option("--wheel-select", "Run only the static checks with these codes or prefixes.", "CODES", repeat=True),
    Option("--wheel-ignore", "Leave out the static checks with these codes or prefixes.", "CODES", repeat=True),
    Option(
        "--wheel-expect",
        "What the release must cover, such as `cp312-cp314: manylinux_x86_64 macosx_arm64 win_amd64; cp39-abi3: "
        "win_arm64; sdist`. Every missing and every unexpected wheel is named. Comes in the place of the ini key.",
        "SPEC",
        repeat=True,
    ),
    Option(
        "--wheel-report",
        "Write a report to this file, whose ending tells its form: .json, .md or .html.",
        "FILE",
        repeat=True,
    ),
    Option("--wheel-static", "Run the static checks only: install, import and run nothing."),
    Option("--wheel-strict", "A wheel that could not be run anywhere fails instead of being skipped."),
    Option(
        "--wheel-jobs",
        "Targets side by side. By default as many as there are CPUs are prepared at once, and their tests run one target "
        "after the other, since tests of one project may meet in the source tree or on a port.",
        "N",
        type=int,
    ),
    Option("--wheel-no-wine", "Run no Windows wheels under Wine; they are then skipped where this is not Windows."),
    Option(
        "--wheel-sandbox",
        "Run imports, executables and tests in a sandbox (bubblewrap, on Linux): no network; home, source tree and cache "
        "read-only; a private /tmp. Where that cannot be had, the run ends with an error.",
    ),
    Option("--wheel-keep", "Keep the environments of the targets and say where they are."),
    Option("--wheel-keep-failed", "Keep the environments of targets in which something failed."),
)

INI_KEYS = (
    IniKey("wheel_requires", "What the tests need, one requirement a line.", "linelist", []),
    IniKey("wheel_groups", "Dependency groups that the tests need.", "args", []),
    IniKey("wheel_extras", "Extras that the wheels are installed with.", "args", []),
    IniKey("wheel_import_ignore", "Patterns of dotted module names that are not meant to be imported.", "linelist", []),
    IniKey(
        "wheel_executables",
        "How to start the executables that a wheel installs, one `NAME: ARGUMENTS` a line, `NAME: off` for not at all; "
        "NAME may be a pattern. Executables in .data/scripts are started with --version; console scripts only when named.",
        "linelist",
        [],
    ),
    IniKey(
        "wheel_entry_timeout", "Seconds that an executable may take to start and end; 0 for any number.", "string", "60"
    ),
    IniKey(
        "wheel_test_timeout",
        "Seconds for a test or import without a time-out of its own; 0 for none.",
        "string",
        "600",
    ),
    IniKey("wheel_wine", "Whether Windows wheels run under Wine on Linux.", "bool", default=True),
    IniKey("wheel_timeout_scale", "Factor for all time-outs on emulated targets.", "string", "10"),
    IniKey(
        "wheel_pty_patterns",
        "Words in names of test files, classes and functions that tell that a test needs a pseudo-terminal "
        "(default: pty). Where the key is set, it also holds in ordinary runs without --wheel.",
        "args",
        None,
    ),
    IniKey(
        "wheel_pty_calls",
        "Native calls of the project's own that open a pseudo-terminal, one a line, dotted as far as it takes: where a test "
        "fails in one on a target that has none, the report says so and how to mark the test.",
        "linelist",
        [],
    ),
    IniKey(
        "wheel_max_size",
        "Size of a file above which WHL807 warns: bytes, or a number with kB, MB, KiB, MiB or GiB.",
        "string",
        "100MiB",
    ),
    IniKey(
        "wheel_expect",
        "What the release must cover, one clause a line: `INTERPRETERS: PLATFORMS`, or `sdist`.",
        "linelist",
        [],
    ),
    IniKey(
        "wheel_apt_source",
        "An archive of packages that interpreters of other architectures are fetched from in the place of the host's, as "
        "a line of sources.list: deb [signed-by=FILE] URI SUITE main.",
    ),
    IniKey(
        "wheel_sysroots",
        "Root file systems with interpreters, one `ARCHITECTURE=PATH` a line; a relative path starts from the root folder.",
        "linelist",
        [],
    ),
    IniKey("wheel_select", "Static checks to run: codes or prefixes.", "args", []),
    IniKey("wheel_ignore", "Static checks to leave out: codes or prefixes.", "args", []),
)


#: The markers, as the ini key ``markers`` takes them; the targets' pytest gets them with its settings.
MARKERS = (
    (
        "pty: the test needs a pseudo-terminal and is skipped on targets that have none (Windows); "
        "pty(False) exempts a test that only sounds like one."
    ),
    (
        "wheel_target(*, skip=False, reason='', **facts): run the test only on targets with these facts, or with "
        "skip=True skip it there, e.g. wheel_target(libc='glibc') or wheel_target(skip=True, emulated=True)."
    ),
)


def declare(parser: pytest.Parser) -> None:
    """Declare every option and key to pytest."""
    group = parser.getgroup("wheelcheck", "testing built wheels")
    for option in OPTIONS:
        words: dict[str, Any] = {"dest": option.dest, "help": option.help}
        if not option.metavar:
            words["action"] = "store_true"
        else:
            words.update(action="append" if option.repeat else "store", metavar=option.metavar, default=None)
            if option.repeat:
                words["default"] = []
            if option.type is not None:
                words["type"] = option.type
        group.addoption(option.flag, **words)
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


def _is_wheel_run(config: pytest.Config) -> bool:
    """Return whether ``--wheel`` is among the arguments, before pytest parses them."""
    args = [*map(str, config.invocation_params.args), os.environ.get("PYTEST_ADDOPTS", ""), *config.getini("addopts")]
    return any(text.startswith("--wheel") or " --wheel" in text for text in args)


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
    """Read ``wheel_executables``.

    :returns: pairs of pattern and arguments (``None`` for off), the first that fits decides; the default stands last.
    :raises ValueError: a line is not of the form ``NAME: ARGUMENTS``.
    """
    found: list[tuple[str, tuple[str, ...] | None]] = []
    for line in lines:
        name, colon, rest = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"{line!r} is not of the form `NAME: ARGUMENTS` or `NAME: off`")
        try:
            found.append((name.strip(), None if rest.strip() == "off" else tuple(shlex.split(rest))))
        except ValueError as error:
            raise ValueError(f"{line!r}: {str(error).lower()}") from None
    return (*found, ("*", ("--version",)))


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def parse_size(text: str) -> int:
    """Read a size such as ``250MiB``.

    :returns: bytes.
    :raises ValueError: it is no size.
    """
    number = text.strip().rstrip("bBkKmMgGiI ")
    unit = text.strip()[len(number) :].strip().lower()
    size = float(number)
    if unit not in _UNITS or not 0 < size < float("inf"):
        raise ValueError(text)
    return int(size * _UNITS[unit])


def default_jobs() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

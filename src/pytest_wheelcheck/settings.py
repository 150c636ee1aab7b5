"""The settings of one run as a frozen value, built once from options and ini keys (``plugin/configuration.py``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pytest_wheelcheck.declarations import DEFAULT_EXECUTABLES

#: Returns how the user named a value: by an option, whose flag is given, or by a key of the configuration.
Named = Callable[[str, str], str]


def as_option(flag: str, value: str) -> str:  # noqa: ARG001  a :data:`Named`
    """Return the option: the value is on the command line."""
    return flag


class TargetArgument(NamedTuple):
    """An argument of the command line that is forwarded to the targets' pytest.

    :param argv: an option with its values, or one positional argument.
    :param known_to_host: whether the host's pytest has this option.
    """

    argv: tuple[str, ...]
    known_to_host: bool


class Override(NamedTuple):
    """Options of pytest for the targets whose names match a pattern: a line of the ini key ``wheel_overrides``.

    :param pattern: of :mod:`fnmatch`, for the name of a target, such as ``cp3*t-*``.
    :param arguments: the options, with their values.
    :param line: as the user wrote it, for messages and reports.
    """

    pattern: str
    arguments: tuple[TargetArgument, ...]
    line: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """What the options of pytest-cov ask for.

    :param sources: the values of ``--cov``; empty if it was given without a value only.
    :param options: options that only concern the measurement, for the targets' pytest.
    :param reports: kinds of reports and where they go, as in ``--cov-report``; no destination is an empty string.
    :param config: the configuration of coverage; empty for the usual files.
    :param append: whether the data of earlier runs is kept.
    :param fail_under: the percentage that is required; ``None`` for that of the configuration.
    :param precision: decimal places; ``None`` for those of the configuration.
    :param not_on_failure: no reports if a test failed.
    """

    sources: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    reports: tuple[tuple[str, str], ...] = (("term", ""),)
    config: str = ""
    append: bool = False
    fail_under: float | None = None
    precision: int | None = None
    not_on_failure: bool = False


class Shard(NamedTuple):
    """A part of a run: its number, from 1, and the number of all parts."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings of one run.

    :param cwd: the directory in which the user started pytest, absolute.
    :param root: pytest's root directory, absolute.
    :param wheels: the wheels as the user gave them: files, directories, globs.
    :param pythons: the values of ``--wheel-python``.
    :param machines: the values of ``--wheel-machine``.
    :param hosts: the values of ``--wheel-host``.
    :param known_hosts: the lines of the ini key ``wheel_hosts``.
    :param board_python: the provider of the interpreters that boards get for versions that they lack; empty for none.
    :param push: patterns of files that boards get in addition to the tracked ones, or do not get (with ``!`` in front).
    :param board_env: names of environment variables that programs on boards get.
    :param apt_source: the package repository to use instead of the host's, as a line of ``sources.list``; empty for the
        host's.
    :param sysroots: root file systems with interpreters, as ``ARCHITECTURE=PATH``, absolute.
    :param providers: names of the allowed providers of interpreters, in the order of preference; empty for the default.
    :param requires: test requirements: requirement strings, and ``-r FILE``.
    :param groups: PEP 735 dependency groups of the project that the tests need.
    :param extras: extras to install the wheels with.
    :param resolution: how the versions of the wheels' dependencies are chosen; empty for uv's own setting.
    :param offline: do not use the network.
    :param find_links: directories or pages with distributions.
    :param index: the package index to use instead of the configured one; ``None`` for the configured one.
    :param without_backends: names of the backends that are switched off.
    :param strict: a wheel that could not be run anywhere fails.
    :param static: run only the static checks.
    :param shard: the part of the targets to test; ``None`` for all.
    :param jobs: number of targets to prepare in parallel.
    :param parallel_tests: number of targets whose tests run in parallel. 1 by default: tests of one project may share
        files of the source tree, a port or a fixed temporary file, and would fail for reasons that are not the wheel's.
    :param select: codes or prefixes of the checks to run; empty for all.
    :param ignore: codes or prefixes of the checks to skip.
    :param max_size: size of a wheel in bytes above which a check warns.
    :param cache_size: bytes of the cache above which the run suggests to prune it; 0 for never.
    :param expect: clauses that list the expected wheels of the release.
    :param reports: files to write reports to.
    :param import_ignore: patterns of modules that the import check skips.
    :param source_ignore: patterns of files of the source tree that wheels need not contain.
    :param import_strict: a module that the wheel's packages do not import themselves fails if its import fails.
    :param executables: pairs of a pattern of installed executables and their arguments, or ``None`` to not start them.
    :param entry_timeout: timeout of an executable, in seconds; 0 for none.
    :param test_timeout: timeout of a test or import that sets none itself, in seconds; 0 for none.
    :param timeout_scale: factor for timeouts on emulated targets.
    :param pty_patterns: words that mark a test, class or file as one that needs a pseudo-terminal.
    :param pty_calls: calls of the project that open a pseudo-terminal.
    :param target_args: the arguments for the targets' pytest.
    :param overrides: options of pytest for some targets only.
    :param fixed_args: arguments that come first for every target's pytest.
    :param plugins_env: ``PYTEST_PLUGINS`` for the targets.
    :param ini_names: ini keys of this plugin, which the targets' pytest must accept.
    :param markers: markers of this plugin, as the ini key ``markers`` takes them.
    :param python_files: patterns of the names of test modules.
    :param test_paths: where tests are searched if the command line names none, absolute; empty for *root*.
    :param python_m: pytest was started with ``python -m``, so the working directory is importable.
    :param keep: which environments to keep: ``""``, ``"failed"`` or ``"all"``.
    :param sandbox: argv that starts the sandbox around code of the wheel and its tests; empty for no sandbox.
    :param width: width of the terminal in columns.
    :param junit: a JUnit report is requested.
    :param artifacts: directory for what tests and crashes leave in targets, absolute; ``None`` if it is not collected.
    :param coverage: coverage is measured; ``None`` if it is not.
    :param places: where the values are written that are in the configuration, by option and value; see :meth:`named`.
    :param pretend_platform: ``sys.platform`` that the workers report, for tests of this plugin; empty otherwise.
    """

    cwd: Path
    root: Path
    wheels: tuple[str, ...]
    pythons: tuple[str, ...] = ("auto",)
    machines: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    known_hosts: tuple[str, ...] = ()
    board_python: str = ""
    push: tuple[str, ...] = ()
    board_env: tuple[str, ...] = ()
    apt_source: str = ""
    sysroots: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    resolution: str = ""
    offline: bool = False
    find_links: tuple[str, ...] = ()
    index: str | None = None
    without_backends: tuple[str, ...] = ()
    strict: bool = False
    static: bool = False
    shard: Shard | None = None
    jobs: int = 1
    parallel_tests: int = 1
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    max_size: int = 100 << 20
    cache_size: int = 0
    expect: tuple[str, ...] = ()
    reports: tuple[Path, ...] = ()
    import_ignore: tuple[str, ...] = ()
    source_ignore: tuple[str, ...] = ()
    import_strict: bool = False
    executables: tuple[tuple[str, tuple[str, ...] | None], ...] = (DEFAULT_EXECUTABLES,)
    entry_timeout: float = 60.0
    test_timeout: float = 600.0
    timeout_scale: float = 10.0
    pty_patterns: tuple[str, ...] = ("pty",)
    pty_calls: tuple[str, ...] = ()
    target_args: tuple[TargetArgument, ...] = ()
    overrides: tuple[Override, ...] = ()
    fixed_args: tuple[str, ...] = ()
    plugins_env: str = ""
    ini_names: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    python_files: tuple[str, ...] = ("test_*.py", "*_test.py")
    test_paths: tuple[Path, ...] = ()
    python_m: bool = False
    keep: str = ""
    sandbox: tuple[str, ...] = ()
    width: int = 80
    junit: bool = False
    artifacts: Path | None = None
    coverage: Coverage | None = None
    places: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    pretend_platform: str = field(default="", repr=False)

    def named(self, flag: str, value: str) -> str:
        """Return how the user named a value, for errors: its key and file if it is in the configuration, else the option."""
        return self.places.get((flag, value), flag)

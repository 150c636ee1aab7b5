"""What one invocation asks for, as a frozen value. Made once from options and ini keys; read by everything below."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings of one run.

    :param cwd: the folder of the invocation, absolute.
    :param root: pytest's root folder, absolute.
    :param wheels: the wheels as given: files, folders, globs.
    :param pythons: the specifications of ``--wheel-python``.
    :param machines: the values of ``--wheel-machine``.
    :param apt_source: an archive of packages in the place of the host's; empty for the host's.
    :param sysroots: root file systems with interpreters, as ``ARCHITECTURE=PATH``, absolute.
    :param requires: what the tests need: requirement strings, and ``-r FILE``.
    :param groups: PEP 735 dependency groups of the project.
    :param extras: extras of the wheels.
    :param offline: use no network.
    :param find_links: folders or pages with distributions.
    :param index: the package index to use instead of the configured one; ``None`` for the configured one.
    :param without_backends: names of the backends that are switched off.
    :param strict: a wheel that could not be run anywhere fails.
    :param static: static checks only.
    :param jobs: targets that are prepared side by side.
    :param lanes: targets whose tests run side by side. One, unless the user says otherwise: tests of one project that
        meet in the source tree, on a port or in a file of fixed name fail for reasons that are not the wheel's.
    :param select: codes or prefixes of checks to run; empty for all.
    :param ignore: codes or prefixes of checks to leave out.
    :param max_size: bytes that a wheel may have without a warning.
    :param expect: clauses that say what the release must cover.
    :param reports: files to write reports to.
    :param import_ignore: patterns of modules that are not meant to be imported.
    :param executables: patterns of installed executables and their arguments, ``None`` for not to be started.
    :param entry_timeout: seconds that an executable may take to start.
    :param test_timeout: seconds for a test or import without a time-out of its own; 0 for none.
    :param timeout_scale: factor for time-outs on emulated targets.
    :param pty_patterns: names that mark a test as one that needs a pseudo-terminal.
    :param pty_calls: calls of the project's own that open one.
    :param occurrences: the target's part of the command line: words that belong together, and whether the host's pytest
        knows the option.
    :param fixed_args: arguments that every worker gets first.
    :param plugins_env: ``PYTEST_PLUGINS`` for the target.
    :param ini_names: ini keys of ours, which the target must not refuse.
    :param markers: markers of ours, as the ini key ``markers`` takes them.
    :param python_m: pytest was started with ``python -m``, so the working directory is importable.
    :param keep: keep the environments: ``""``, ``"failed"`` or ``"all"``.
    :param sandbox: words that start the sandbox around whatever comes from a wheel or its tests; empty for none.
    :param width: columns of the terminal.
    :param junit: a JUnit report is asked for.
    :param pretend: a platform that the workers shall report, for tests of ours; empty otherwise.
    """

    cwd: Path
    root: Path
    wheels: tuple[str, ...]
    pythons: tuple[str, ...] = ("auto",)
    machines: tuple[str, ...] = ()
    apt_source: str = ""
    sysroots: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    offline: bool = False
    find_links: tuple[str, ...] = ()
    index: str | None = None
    without_backends: tuple[str, ...] = ()
    strict: bool = False
    static: bool = False
    jobs: int = 1
    lanes: int = 1
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    max_size: int = 100 << 20
    expect: tuple[str, ...] = ()
    reports: tuple[Path, ...] = ()
    import_ignore: tuple[str, ...] = ()
    executables: tuple[tuple[str, tuple[str, ...] | None], ...] = (("*", ("--version",)),)
    entry_timeout: float = 60.0
    test_timeout: float = 600.0
    timeout_scale: float = 10.0
    pty_patterns: tuple[str, ...] = ("pty",)
    pty_calls: tuple[str, ...] = ()
    occurrences: tuple[tuple[tuple[str, ...], bool], ...] = ()
    fixed_args: tuple[str, ...] = ()
    plugins_env: str = ""
    ini_names: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    python_m: bool = False
    keep: str = ""
    sandbox: tuple[str, ...] = ()
    width: int = 80
    junit: bool = False
    pretend: str = field(default="", repr=False)

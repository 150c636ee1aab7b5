"""What this package uses of pytest without being public: the page ``docs/pytest-api.md``, and the test that it is complete."""

from __future__ import annotations

from typing import NamedTuple

#: The versions of pytest that the tests were run with, the oldest first.
TESTED_VERSIONS = ("9.0.2", "9.2.0")


class Use(NamedTuple):
    """One use of a name that is not public.

    :param module: the file in the package.
    :param names: modules of ``_pytest`` with the imported name, or private attributes.
    :param purpose: what for.
    :param without: what happens if a version of pytest does not have it.
    """

    module: str
    names: tuple[str, ...]
    purpose: str
    without: str


_NO_START = "the module cannot be imported, and the tests show it"

USES = (
    Use(
        "cli/board.py",
        ("_pytest.config.findpaths.determine_setup",),
        "finds the project's configuration, for names of boards",
        _NO_START,
    ),
    Use(
        "cli/test.py",
        ("_pytest.config.findpaths.determine_setup", "_pytest.config.get_config", "_option_string_actions", "_parser"),
        "reads the configuration and the options that take a value, without loading the user's plugins",
        _NO_START,
    ),
    Use(
        "plugin/configuration.py",
        ("_inicfg",),
        "the values of keys as they are written, for error messages",
        "an exception, when a run with wheels begins",
    ),
    Use(
        "plugin/local.py",
        ("_getobj",),
        "in an ordinary run, skips a module that needs a pseudo-terminal when its import fails",
        "an exception in the collection, on systems without pseudo-terminals only",
    ),
    Use(
        "plugin/nodes.py",
        ("_pytest.junitxml.xml_key",),
        "the properties and captured output of targets in the JUnit report",
        _NO_START,
    ),
    Use(
        "plugin/places.py",
        ("_inicfg",),
        "says in which file a key of the configuration is written",
        _NO_START,
    ),
    Use(
        "plugin/project_table.py",
        ("_pytest.config.findpaths.ConfigValue", "_inicfg"),
        "gives pytest the keys of `[tool.wheelcheck]`",
        _NO_START,
    ),
    Use(
        "plugin/replay.py",
        (
            "_pytest._code.code.ExceptionChainRepr",
            "_pytest._code.code.ReprEntry",
            "_pytest._code.code.ReprEntryNative",
            "_pytest._code.code.ReprExceptionInfo",
            "_pytest._code.code.ReprFileLocation",
            "_pytest._code.code.ReprTraceback",
            "_pytest._code.code.TerminalRepr",
        ),
        "makes the failure of a target's test again, so that terminal and reports show it as pytest does",
        _NO_START,
    ),
    Use(
        "plugin/takeover.py",
        (
            "_pytest.config.findpaths.determine_setup",
            "_call_history",
            "_ini_aliases",
            "_inicfg",
            "_inidict",
            "_inipath",
            "_option_string_actions",
            "_parser",
        ),
        "divides command line and configuration between the host's pytest and the target's",
        "an exception, when a run with wheels begins; without `_call_history`, early warnings are not shown again",
    ),
    Use(
        "plugin/xdist.py",
        ("_split_scope",),
        "with `--dist loadfile`, distributes test files: a method that pytest-xdist has for subclasses",
        "whole wheels are distributed, as pytest-xdist does without it",
    ),
    Use(
        "worker/consoles.py",
        ("_fixtureinfo",),
        "under Wine, finds the fixtures of a test that opened a pseudo console",
        "such a test fails and is not skipped",
    ),
    Use(
        "worker/descriptions.py",
        ("_get_item_settings",),
        "the timeouts that pytest-timeout reads",
        "timeouts of tests are those of this package",
    ),
    Use(
        "worker/hooks.py",
        ("_pytest._io.TerminalWriter", "_pytest.junitxml.xml_key", "_tw"),
        "records what reporters of the target print, and the properties of tests",
        "an error of the target",
    ),
    Use(
        "worker/provenance.py",
        ("_pytest.pathlib",),
        "imports test modules through the guard, in every import mode",
        "an error of the target",
    ),
    Use(
        "worker/pytest_main.py",
        ("_pytest.config",),
        "loads the modules of pytest's own plugins early, so that a worker need not do it again after a crash",
        "they are loaded later",
    ),
    Use(
        "worker/rewriting.py",
        ("_pytest.assertion.rewrite", "_rewrite_test"),
        "rewrites assert statements ahead",
        "they are rewritten in the target, which is slower",
    ),
    Use(
        "worker/session.py",
        ("_anonymous", "_groups", "_long_opts", "_short_opts"),
        "the options that plugins of the target declare",
        "an error of the target",
    ),
)

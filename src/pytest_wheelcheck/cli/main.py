"""The command ``wheelcheck``."""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import RuntimeUnavailableError, WheelcheckError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the console script.

    :returns: the exit status; 4 for an invocation that is wrong, as pytest has it.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["test"]:
        return test(words[1:])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Of a pipe on Windows, or in the C locale, it has not every letter that is told.
        sys.stdout.reconfigure(errors="backslashreplace")
    from pytest_wheelcheck.cli import commands as more

    parser = argparse.ArgumentParser(prog="wheelcheck", description="Prove that built wheels work.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("test", help="pytest --wheel, with all of pytest's arguments", add_help=False)
    commands.add_parser("checks", help="list the static checks and what they mean").add_argument(
        "code", nargs="*", help="codes or prefixes to explain at length"
    )
    commands.add_parser("machines", help="list the hardware profiles and what each does not cover").add_argument(
        "--json", action="store_true", help="as JSON"
    )
    merging = commands.add_parser("merge", help="join the reports of several hosts by the digests of the wheels")
    merging.add_argument("report", nargs="+", help="files that --wheel-report NAME.json wrote")
    merging.add_argument("--wheel-report", action="append", default=[], metavar="FILE", help="as in a run")
    merging.add_argument("--wheel-expect", action="append", default=[], metavar="SPEC", help="as in a run")
    merging.add_argument("--wheel-strict", action="store_true", help="a wheel that was run on none of the hosts fails")
    more.declare(commands)
    try:
        found = parser.parse_args(words)
    except SystemExit as leave:  # argparse has told why, or shown help
        return 4 if leave.code == 2 else int(leave.code or 0)
    try:
        if found.command == "merge":
            return merge(found.report, paths=found.wheel_report, expected=found.wheel_expect, strict=found.wheel_strict)
        if found.command == "machines":
            return machines(as_json=found.json)
        if found.command in more.NAMES:
            return more.run(found)
        return checks(found.code)
    except RuntimeUnavailableError as error:
        sys.stderr.write(f"wheelcheck: {error}\n")
        return 1
    except WheelcheckError as error:
        sys.stderr.write(f"wheelcheck: {error}\n")
        return 4


def checks(codes: Sequence[str]) -> int:
    """Print the table of checks, or explain some of them."""
    from pytest_wheelcheck.checks import CHECKS, select_checks

    if not codes:
        for check in CHECKS:
            sys.stdout.write(f"{check.code}  {check.severity.value:7}  {check.title}\n")
        return 0
    for check in select_checks(select=codes):
        sys.stdout.write(
            f"{check.name} ({check.severity.value}): {check.title}\n"
            f"  problem: {check.problem}\n  reason:  {check.reason}\n  fix:     {check.fix}\n"
            f"  source:  {check.source}\n"
        )
    return 0


def machines(*, as_json: bool) -> int:
    """Print the table of hardware profiles."""
    from dataclasses import asdict

    from pytest_wheelcheck.backends.qemu.machines import PROFILES

    if as_json:
        rows = [{**asdict(each), "needs": each.needs} for each in PROFILES.values()]
        sys.stdout.write(f"{json.dumps(rows, indent=1)}\n")
        return 0
    for each in PROFILES.values():
        sys.stdout.write(f"{each.name:10} {each.hardware}\n")
        if each.impossible:
            sys.stdout.write(f"{'':10} could not be checked: {each.impossible}\n")
        else:
            sys.stdout.write(f"{'':10} needs a QEMU {each.needs}\n")
        if each.uncovered:
            sys.stdout.write(f"{'':10} not covered: {each.uncovered}\n")
    return 0


def merge(given: Sequence[str], *, paths: Sequence[str], expected: Sequence[str], strict: bool) -> int:
    """Join reports, show their coverage, and judge the whole.

    :returns: 1 where something failed anywhere, or the release is not what is expected of it.
    """
    from dataclasses import replace

    from pytest_wheelcheck.plugin import account
    from pytest_wheelcheck.reporting import matrix, report, terminal

    outputs = [account.parse_report_path(path, Path.cwd()) for path in paths]
    found = report.merge([report.from_json(_read(path), source=path) for path in given])
    found = replace(found, expect=tuple(expected) or found.expect)
    nodes = tuple(report.of_step(step) for step in account.release_steps(found))
    found = replace(found, release=nodes)
    for line, _ in terminal.matrix_lines(matrix.rows(found, account.expectation(found).missing_cells)):
        sys.stdout.write(f"{line}\n")
    lines = report.problems(found, strict=strict)
    for node in found.release:
        lines += [line for line in node.text.splitlines()[1:] if node.outcome in report.BAD]
        sys.stdout.writelines(f"warning: {text}\n" for text in node.warnings)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    for path in account.write_reports(outputs, found):
        sys.stdout.write(f"report: {path}\n")
    return 1 if lines else 0


def _read(path: str) -> str:
    from pytest_wheelcheck.errors import UsageError

    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None


def test(args: Sequence[str]) -> int:
    """Run pytest on wheels, and keep it from importing anything of the user's before the plugin can speak.

    pytest imports the plugins of ``-p``, ``PYTEST_PLUGINS`` and ``required_plugins`` before entry-point plugins exist.
    Here they are taken out of the host's command line and ini file, and go to the targets.
    """
    import pytest

    from pytest_wheelcheck.plugin.takeover import Launch

    try:
        root, ini, values = find_setup(args)
    except pytest.UsageError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 4
    merged = [*shlex.split(os.environ.pop("PYTEST_ADDOPTS", "")), *_addopts(values), *args]
    host_args, target_args = _divide_plugins(merged)
    quiet = (("-o", "addopts="), ("-o", "required_plugins="), ("-o", "filterwarnings="))
    launch = Launch(target_args=tuple(target_args), host_args=quiet, plugins_env=os.environ.pop("PYTEST_PLUGINS", ""))
    given = [] if _has_option(merged, "--rootdir") else [f"--rootdir={root}"]
    if not _has_option(merged, "--wheel"):
        wheel = next((path for word in merged if (path := word.partition("::")[0]).endswith(".whl")), None)
        if wheel is not None:
            given.append(f"--wheel={wheel}")
        elif not _has_option(merged, "-h", "--help", "-V", "--version", "--markers", "--fixtures"):
            # Without wheels it would be an ordinary run, which imports the user's tests here.
            sys.stderr.write(
                "wheelcheck: no wheel is given\n"
                "Fix: name built wheels, as in `wheelcheck test dist/*.whl` or `wheelcheck test --wheel=dist`\n"
            )
            return 4
    if not _has_option(merged, "-c", "--config-file"):
        given += ["-c", str(ini or os.devnull)]
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") or "--disable-plugin-autoload" in merged:
        given += ["-p", "wheelcheck"]
    return int(pytest.main([*given, *(word for pair in quiet for word in pair), *host_args], plugins=[launch]))


def find_setup(args: Sequence[str]) -> tuple[Path, Path | None, dict[str, Any]]:
    """Find the root folder, the ini file and its values, from the test paths among the arguments alone."""
    from _pytest.config import get_config
    from _pytest.config.findpaths import determine_setup

    from pytest_wheelcheck.plugin import options
    from pytest_wheelcheck.plugin.arguments import split, walk

    # A configuration of its own, for the table of options.
    parser = get_config()._parser
    options.declare(parser)
    actions = parser.optparser._option_string_actions
    found = {one.dest: one.words[-1].rpartition("=")[2] for one in walk(args, actions) if one.dest}
    setup: Any = determine_setup(
        inifile=found.get("inifilename"),
        override_ini=None,
        args=split(args, actions).paths,
        rootdir_cmd_arg=found.get("rootdir"),
        invocation_dir=Path.cwd(),
    )
    return setup[0], setup[1], setup[2]


def _has_option(args: Sequence[str], *names: str) -> bool:
    return any(word.partition("=")[0] in names for word in args)


def _addopts(values: dict[str, Any]) -> list[str]:
    found = getattr(values.get("addopts"), "value", values.get("addopts"))
    if found is None:
        return []
    return shlex.split(found) if isinstance(found, str) else [str(word) for word in found]


def _divide_plugins(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``-p NAME`` out of a command line, but for ``no:NAME`` and the host's own plugins."""
    own = {point.name for point in entry_points(group="pytest11")}
    own |= {point.module for point in entry_points(group="pytest11")}
    host: list[str] = []
    target: list[str] = []
    words = iter(args)
    for word in words:
        if word == "-p":
            name = next(words, "")
        elif word.startswith("-p") and len(word) > 2:
            name = word[2:].strip()
        else:
            host.append(word)
            continue
        if name.startswith("no:") or name in own:
            host += ["-p", name]
        else:
            target += ["-p", name]
    return host, target


if __name__ == "__main__":
    sys.exit(main())

"""Builds :class:`~pytest_wheelcheck.settings.Settings` from pytest's options and ini keys."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_wheelcheck.backends.command_line import switched_off
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.interpreters.registry import parse_names
from pytest_wheelcheck.plugin import coverage_options, options, takeover
from pytest_wheelcheck.plugin.overrides import parse_overrides
from pytest_wheelcheck.plugin.places import Values, key_place
from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.write import parse_report_path
from pytest_wheelcheck.settings import Settings, Shard, TargetArgument
from pytest_wheelcheck.system import cache_size, directories
from pytest_wheelcheck.system.sizes import parse_size
from pytest_wheelcheck.targets.planning.release import absolute
from pytest_wheelcheck.targets.preparing.resolution import parse_resolution


def read_settings(config: pytest.Config) -> Settings:
    """Read options and ini keys.

    :raises UsageError: a value is invalid.
    """
    option, getini = config.option, config.getini
    cwd, root = config.invocation_params.dir, config.rootpath
    command = takeover.command_arguments(config)
    values = Values(config)
    jobs = option.wheel_jobs if option.wheel_jobs is not None else options.default_jobs()
    if jobs < 1:
        raise UsageError(f"--wheel-jobs {jobs} is less than 1", fix="omit the option, or pass 1 or more")
    return Settings(
        cwd=cwd,
        root=root,
        wheels=(*option.wheel, *config.stash[takeover.COMMAND_LINE].wheels),
        pythons=tuple(option.wheel_python) or ("auto",),
        machines=tuple(option.wheel_machine),
        hosts=tuple(option.wheel_host),
        known_hosts=tuple(getini("wheel_hosts")),
        board_python=option.wheel_board_python or "",
        push=tuple(getini("wheel_push")),
        board_env=tuple(getini("wheel_board_env")),
        apt_source=str(getini("wheel_apt_source")),
        sysroots=values.merged(
            "--wheel-sysroot",
            "wheel_sysroots",
            lambda texts: (_sysroot(text, cwd) for text in texts),
            lambda texts: (_sysroot(text, root) for text in texts),
        ),
        providers=_providers(config),
        requires=values.merged(
            "--wheel-requires", "wheel_requires", lambda texts: (_requirement(text, cwd) for text in texts)
        ),
        groups=values.merged("--wheel-group", "wheel_groups"),
        extras=values.merged("--wheel-extra", "wheel_extras", options.split_codes),
        resolution=parse_resolution(option.wheel_resolution or str(getini("wheel_resolution"))),
        offline=option.wheel_offline,
        find_links=tuple(_find_links(text, cwd) for text in option.wheel_find_links),
        index=option.wheel_index,
        without_backends=switched_off(lambda name: _boolean(config, name), config.getoption),
        strict=option.wheel_strict,
        static=option.wheel_static,
        shard=_shard(option.wheel_shard),
        jobs=jobs,
        parallel_tests=option.wheel_jobs or 1,
        select=values.merged("--wheel-select", "wheel_select", options.split_codes),
        ignore=values.merged("--wheel-ignore", "wheel_ignore", options.split_codes),
        max_size=_size(config, "wheel_max_size"),
        cache_size=_cache_size(config),
        expect=_expected(config, values),
        reports=tuple(parse_report_path(text, cwd) for text in option.wheel_report),
        import_ignore=tuple(getini("wheel_import_ignore")),
        source_ignore=tuple(getini("wheel_source_ignore")),
        import_strict=_boolean(config, "wheel_import_strict"),
        executables=_executables(config),
        entry_timeout=_number(config, "wheel_entry_timeout"),
        test_timeout=_number(config, "wheel_test_timeout"),
        timeout_scale=_number(config, "wheel_timeout_scale"),
        pty_patterns=("pty",) if getini("wheel_pty_patterns") is None else tuple(getini("wheel_pty_patterns")),
        pty_calls=tuple(getini("wheel_pty_calls")),
        target_args=_target_args(config, command),
        overrides=parse_overrides(getini("wheel_overrides"), takeover.known_options(config)),
        fixed_args=_fixed_args(config),
        plugins_env=command.plugins_env or os.environ.get("PYTEST_PLUGINS", ""),
        ini_names=tuple(key.name for key in options.INI_KEYS),
        markers=options.MARKERS,
        python_files=tuple(getini("python_files")),
        test_paths=tuple(root / path for path in getini("testpaths")),
        python_m=Path(sys.argv[0]).name == "__main__.py",
        keep="all" if option.wheel_keep else "failed" if option.wheel_keep_failed else "",
        width=shutil.get_terminal_size().columns,
        junit=bool(getattr(option, "xmlpath", None)),
        artifacts=_artifacts(option.wheel_artifacts, cwd),
        coverage=coverage_options.read(config.stash[takeover.COMMAND_LINE].coverage),
        places=values.places,
        pretend_platform=os.environ.get("WHEELCHECK_PRETEND_PLATFORM", ""),
    )


def _target_args(config: pytest.Config, command: takeover.CommandArguments) -> tuple[TargetArgument, ...]:
    """Return the arguments for the targets' pytest, those of ``wheelcheck test`` first."""
    forwarded = config.stash[takeover.COMMAND_LINE].target
    return (
        *(TargetArgument((text,), known_to_host=False) for text in command.target_args),
        *(argument for argument in forwarded if argument.argv not in command.host_args),
    )


def _fixed_args(config: pytest.Config) -> tuple[str, ...]:
    """Return the arguments that come first for every target's pytest."""
    ini = takeover.ini_file(config)
    return (
        *("-p", "no:wheelcheck"),
        *("-p", "no:lfplugin", "-p", "no:nfplugin", "-p", "no:stepwiseplugin"),
        *("-o", "addopts="),
        f"--rootdir={config.rootpath}",
        *(("-c", str(ini)) if ini is not None else ()),
        "--color=no",
    )


def _expected(config: pytest.Config, values: Values) -> tuple[str, ...]:
    clauses = tuple(config.option.wheel_expect or config.getini("wheel_expect"))
    if not config.option.wheel_expect:
        values.record("--wheel-expect", "wheel_expect", expect.split(clauses))
    where = "--wheel-expect" if config.option.wheel_expect else key_place(config, "wheel_expect")
    expect.parse((clause for clause in expect.split(clauses) if clause != expect.PREVIOUS), where)
    return clauses


def _providers(config: pytest.Config) -> tuple[str, ...]:
    if given := config.option.wheel_providers:
        return parse_names(given)
    return parse_names(config.getini("wheel_providers"), key_place(config, "wheel_providers"))


def _shard(text: str | None) -> Shard | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    shard = Shard(int(match[1]), int(match[2])) if match is not None else None
    if shard is None or shard.total == 0:
        raise UsageError(
            f"--wheel-shard {text}: not of the form NUMBER/COUNT",
            fix="pass for example 1/2 in one run, and 2/2 in another one",
        )
    if not 1 <= shard.number <= shard.total:
        raise UsageError(
            f"--wheel-shard {text}: there is no shard {shard.number} of {shard.total}",
            fix=f"pass a number from 1 to {shard.total}, a different one in each run",
        )
    return shard


def _executables(config: pytest.Config) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    try:
        return options.parse_executables(config.getini("wheel_executables"))
    except ValueError as error:
        raise UsageError(f"{key_place(config, 'wheel_executables')}: {error}") from None


def _size_text(config: pytest.Config, name: str) -> str:
    """Return a size as it is written; empty if it is written as something else."""
    try:
        return str(config.getini(name))
    except (TypeError, ValueError, pytest.UsageError):
        # In [tool.pytest], pytest refuses a number: the key is a string, because it may have a unit.
        value = _written(config, name)
        return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def _size(config: pytest.Config, name: str) -> int:
    try:
        return parse_size(_size_text(config, name))
    except ValueError:
        place = key_place(config, name, _written(config, name))
        raise UsageError(f"{place} is not a size", fix="write bytes, 250MB or 100MiB") from None


def _cache_size(config: pytest.Config) -> int:
    name = "wheel_cache_size"
    try:
        return cache_size.limit(_size_text(config, name))
    except ValueError:
        variable = os.environ.get(cache_size.VARIABLE)
        place = f"{cache_size.VARIABLE}={variable}" if variable else key_place(config, name, _written(config, name))
        raise UsageError(f"{place} is not a size of the cache", fix="write 5GB, 500MiB, or 0 for no limit") from None


def _number(config: pytest.Config, name: str) -> float:
    try:
        number = float(config.getini(name))
    except (TypeError, ValueError, pytest.UsageError):
        # In [tool.pytest], pytest refuses a number in quotes.
        value = _written(config, name)
        try:
            number = float(value) if isinstance(value, str) else -1.0
        except ValueError:
            number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"{key_place(config, name, _written(config, name))} is not a number of 0 or more")
    return number


def _written(config: pytest.Config, name: str) -> object:
    """Return a value of the configuration as it is written. There is no public way to one that pytest refuses."""
    found: Any = config._inicfg[name]  # noqa: SLF001
    value: object = found.value
    return value


def _boolean(config: pytest.Config, name: str) -> bool:
    try:
        return bool(config.getini(name))
    except (ValueError, pytest.UsageError) as error:
        raise UsageError(f"{key_place(config, name)}: {error}", fix="write true or false") from None


def _artifacts(text: str | None, cwd: Path) -> Path | None:
    if not text:
        return None
    path = absolute(text, cwd)
    try:
        directories.check_writable(path)
    except OSError as error:
        raise UsageError(
            f"--wheel-artifacts {text}: files cannot be written there: {error.strerror or error}",
            fix="use a writable directory",
        ) from None
    return path


def _requirement(text: str, cwd: Path) -> str:
    """Return a requirement. A requirements file may be given as its path alone."""
    return f"-r {text}" if text.endswith((".txt", ".in")) and (cwd / text).is_file() else text


def _sysroot(text: str, start: Path) -> str:
    name, equals, path = text.partition("=")
    return f"{name}={absolute(path.strip(), start)}" if equals and path.strip() else text


def _find_links(text: str, cwd: Path) -> str:
    if "://" in text:
        return text
    path = absolute(text, cwd)
    if not path.exists():
        raise UsageError(f"--wheel-find-links {text}: {path} does not exist", fix="correct the path")
    return str(path)

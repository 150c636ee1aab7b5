"""The message that tells a worker which tests to run and how."""

from __future__ import annotations

from pathlib import Path

from pytest_wheelcheck.backends.base import Capabilities
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.coverage.sources import measured
from pytest_wheelcheck.targets.preparing.preparation import Preparation
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.targets.timeouts import scale
from pytest_wheelcheck.worker import messages as protocol


def tests_message(
    target: Target,
    prepared: Preparation,
    settings: Settings,
    *,
    capabilities: Capabilities,
    temporary: Path,
    skip_modules: list[str],
    output: Path,
    rewritten: Path,
    guarded: bool,
) -> protocol.Tests:
    """Return the message that starts pytest in a worker.

    :param temporary: the worker's own directory.
    :param skip_modules: node ids of test modules that ended an earlier worker.
    :param output: directory that tests may write to.
    :param rewritten: directory of the modules that were rewritten ahead; need not exist.
    :param guarded: the guard is installed in the environment.
    """
    factor = scale(target, settings)
    return {
        "type": "tests",
        "fixed_args": [
            *settings.fixed_args,
            "-o",
            f"cache_dir={temporary / 'cache'}",
            # The directories that are left at the end are those of tests that failed.
            *(["-o", "tmp_path_retention_policy=failed"] if settings.artifacts else []),
            *_coverage_args(target, prepared, settings),
        ],
        "occurrences": [{"args": list(args), "from_host": host} for args, host in settings.target_args],
        "overlays": list(map(str, prepared.overlays)),
        "facts": target_facts(target),
        "python_m": settings.python_m,
        "pretend": settings.pretend_platform,
        "pty_patterns": list(settings.pty_patterns),
        "pty_calls": list(settings.pty_calls),
        "consoles": capabilities.consoles,
        "ini_names": list(settings.ini_names),
        "markers": list(settings.markers),
        "timeout_scale": factor,
        "width": settings.width,
        "junit": settings.junit,
        "skip_modules": skip_modules,
        # Without signals nothing can ask for stacks later: the watchdog writes them.
        "watchdog": 0 if capabilities.signals else dump_time(settings.test_timeout * factor),
        "output": str(output),
        "rewritten": str(rewritten),
        "guarded": guarded,
    }


def _coverage_args(target: Target, prepared: Preparation, settings: Settings) -> list[str]:
    """Return the options that make pytest-cov measure, and report nothing: the host reports the data of all targets."""
    coverage, environment = settings.coverage, prepared.environment
    if coverage is None or environment is None:
        return []
    config = [f"--cov-config={settings.cwd / coverage.config}"] if coverage.config else []
    sources = [f"--cov={value}" for value in measured(target.wheel, environment, settings, coverage)]
    return [*sources, "--cov-report=", "--cov-fail-under=0", *config, *coverage.options]


def target_facts(target: Target) -> protocol.TargetFacts:
    """Return the facts of the target that only the controller knows."""
    wheel, installation = target.wheel, target.runtime.installation
    platform = installation.platform
    return {
        "wheel": wheel.path.name,
        "name": wheel.name,
        "version": wheel.version,
        "architecture": platform.architecture,
        "libc": platform.libc,
        "libc_version": ".".join(map(str, installation.libc_version)) if platform.libc else "",
        "machine": target.machine.name,
        "emulated": target.runtime.backend.emulated,
    }


def dump_time(limit: float) -> float:
    """Return when to dump the stacks so that they are complete when *limit* ends; seconds from the start."""
    return max(limit - 0.5, limit * 0.9)

"""pytest's hooks, and no logic: what they do is told in the rooms below. Without ``--wheel`` nothing heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_wheelcheck.plugin import options

if TYPE_CHECKING:
    from pytest_wheelcheck.worker.facts import WheelTarget


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare options and ini keys."""
    options.declare(parser)
    config: Any = pluginmanager.getplugin("pytestconfig")
    if config is not None and _asks_for_wheels(config):
        # Plugins that the project requires are wanted in the targets; there they are checked.
        config.getini("required_plugins").clear()


def _asks_for_wheels(config: pytest.Config) -> bool:
    words = [*map(str, config.invocation_params.args), os.environ.get("PYTEST_ADDOPTS", ""), *config.getini("addopts")]
    return any(word.startswith("--wheel") or " --wheel" in word for word in words)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """With wheels, keep the host's pytest from the user's conftests, tests, options and warning filters."""
    # A wrapper, to come before pytest's own, which imports the modules that warning filters name.
    if early_config.known_args_namespace.wheel:
        from pytest_wheelcheck.plugin.takeover import take_over

        take_over(early_config, parser, args)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Start again where a wheel's place misled pytest about the project's root folder."""
    if config.option.wheel:
        from pytest_wheelcheck.plugin.takeover import restart

        return restart(config)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; with wheels, the run."""
    for line in options.MARKERS:
        config.addinivalue_line("markers", line)
    if config.option.wheel:
        from pytest_wheelcheck.plugin.run import WheelRun

        config.pluginmanager.register(WheelRun.from_config(config), "wheelcheck-run")
    elif not hasattr(os, "openpty"):
        from pytest_wheelcheck.plugin.local import LocalRules

        config.pluginmanager.register(LocalRules(config), "wheelcheck-local")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In an ordinary run, apply the markers to the tests, and the name patterns where the ini file sets them."""
    if not config.option.wheel and (
        config.getini("wheel_pty_patterns")
        or any(mark.name in {"wheel_target", "pty"} for item in items for mark in item.iter_markers())
    ):
        from pytest_wheelcheck.plugin.local import apply

        apply(config, items)


@pytest.fixture(scope="session")
def wheel_target() -> WheelTarget:
    """Frozen facts of the target: wheel, interpreter, architecture, libc, machine, emulated or not."""
    from pytest_wheelcheck.worker.facts import WheelTarget, local_facts

    return WheelTarget(local_facts())

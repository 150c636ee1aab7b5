"""Usage errors of the targets' pytest: what to do about an option that it does not know."""

from __future__ import annotations

import re
from dataclasses import replace

from pytest_wheelcheck.settings import Override, Settings
from pytest_wheelcheck.targets.overrides import matching
from pytest_wheelcheck.targets.running.item_results import Collected, FailedCollection
from pytest_wheelcheck.targets.target import Target

#: Plugins by their options.
_PLUGINS = {
    "--parallel-threads": "pytest-run-parallel",
    "--iterations": "pytest-run-parallel",
    "--timeout": "pytest-timeout",
    "--cov": "pytest-cov",
    "--reruns": "pytest-rerunfailures",
    "--asyncio-mode": "pytest-asyncio",
}


def explain_usage(collected: Collected, target: Target, settings: Settings) -> Collected:
    """Explain a usage error. One that an override causes is an error of this target, whatever the others report."""
    if not collected.usage:
        return collected
    text = collected.usage
    plugin = next((name for option, name in _PLUGINS.items() if _refuses(text, option)), "")
    fix = (
        f'add {plugin} to the test requirements: requires = ["{plugin}"] in [tool.wheelcheck], or '
        f"--wheel-requires {plugin}"
        if plugin
        else ""
    )
    guilty = [override.line for override in matching(target, settings.overrides) if _is_named(override, text)]
    if not guilty:
        return replace(collected, usage=f"{text}\nFix: {fix}") if fix else collected
    lines = [
        f"wheel_overrides: {'; '.join(guilty)}: the pytest of {target.name} does not accept it",
        f"Cause: {text}",
        f"Fix: {fix or 'correct the line, or add the plugin that has the option to the test requirements'}",
    ]
    failure = FailedCollection(text="\n".join(lines), unchecked=True)
    return replace(collected, usage="", failures=(*collected.failures, failure))


def _refuses(text: str, option: str) -> bool:
    return re.search(rf"unrecognized arguments:.* {re.escape(option)}(?![\w-])", text) is not None


def _is_named(override: Override, text: str) -> bool:
    """Return whether a message of pytest has an option of an override, or the value of one."""
    words = [word for argument in override.arguments for word in argument.argv]
    names = [word.partition("=")[0] if word.startswith("--") else word for word in words]
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in names)

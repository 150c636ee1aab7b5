"""Tells once for each target which dependency group or extra of the project brings a plugin that the target lacks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from pytest_wheelcheck.plugin.places import addition
from pytest_wheelcheck.results import Frame, RemoteError
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.target import Target

#: Names that dependency groups and extras for tests usually have, the best first.
_TEST_NAMES = ("test", "tests", "testing", "dev")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """A dependency group or an extra that is not used.

    :param value: for the option and the key: ``test``, or ``demo[test]`` for an extra.
    """

    flag: str
    key: str
    value: str
    shown: str
    distributions: tuple[str, ...]


#: What brings missing plugins, each with the reasons, in order.
_Found = dict[_Source, dict[str, None]]


class PluginHints:
    """The hints of a run."""

    def __init__(self, config: pytest.Config, settings: Settings, targets: Sequence[Target]) -> None:
        self._config = config
        self._settings = settings
        self._targets = {f"{target.node_id}::": target for target in targets}
        self._told_modules: set[tuple[str, str]] = set()
        self._told: dict[str, _Found] = {}
        #: By the node ids of targets: to find them, files are read and markers are evaluated.
        self._sources: dict[str, list[_Source]] = {}

    def tell(self, node_id: str, text: str) -> str:
        """Return the hint for a failure; empty if there is none, or if its target had it already.

        :param node_id: of the failed node, or of the target.
        :param text: of the failure.
        """
        prefix = next((prefix for prefix in self._targets if f"{node_id}::".startswith(prefix)), "")
        told = self._told.setdefault(prefix, {})
        found = self._find(self._targets[prefix], text) if prefix else {}
        new = {source: reasons for source, reasons in found.items() if source not in told}
        for source, reasons in found.items():
            told.setdefault(source, {}).update(reasons)
        if new or found or not prefix:
            return self._describe(new) if new else ""
        modules = [
            name for name in self._undeclared(self._targets[prefix], text) if (prefix, name) not in self._told_modules
        ]
        self._told_modules.update((prefix, name) for name in modules)
        return self._describe_modules(modules) or self._of_wheel(prefix, text)

    def explain(self, target: Target, text: str) -> str:
        """Return the cause and fix of a usage error; empty if nothing of the project brings what is missing."""
        found = self._find(target, text)
        return self._describe(found) if found else self._describe_modules(self._undeclared(target, text))

    def summary(self) -> str:
        """Return one hint for all targets that had one; empty if none had."""
        every: _Found = {}
        for found in self._told.values():
            for source, reasons in found.items():
                every.setdefault(source, {}).update(reasons)
        return self._describe(every) if every else ""

    def _find(self, target: Target, text: str) -> _Found:
        """Return what of the project brings the plugins that a text shows as missing, each with the reasons."""
        from pytest_wheelcheck.targets.running.missing_plugins import lacks

        found: _Found = {}
        for lack in lacks(text, own=target.wheel.top_levels):
            if target.node_id not in self._sources:
                self._sources[target.node_id] = list(self._find_sources(target))
            sources = self._sources[target.node_id]
            pairs = ((source, name) for source in sources for name in source.distributions if lack.is_met_by(name))
            if pair := next(pairs, None):
                source, name = pair
                found.setdefault(source, {})[f"{lack.needs(name)}, which is not installed: {source.shown} has it"] = (
                    None
                )
        return found

    def _undeclared(self, target: Target, text: str) -> list[str]:
        """Return the modules that tests or conftest files lack, and that are not the project's own."""
        from pytest_wheelcheck.targets.preparing.known_modules import PYTHON_2, STANDARD_LIBRARY, SYSTEMS
        from pytest_wheelcheck.targets.running.missing_plugins import lacks

        known = STANDARD_LIBRARY.union(PYTHON_2, *SYSTEMS.values())
        found = {lack.name: None for lack in lacks(text, own=target.wheel.top_levels) if lack.kind == "module"}
        return [name for name in found if name not in known and not self._is_own(name)]

    def _of_wheel(self, prefix: str, text: str) -> str:
        """Explain the import of an undeclared dependency in a function of the wheel, which the import check did not call."""
        from pytest_wheelcheck.targets.preparing.explanations import Kind
        from pytest_wheelcheck.targets.preparing.missing_modules import explain
        from pytest_wheelcheck.targets.running.missing_plugins import missing_in_installed_code

        target = self._targets[prefix]
        for missing, path, line in missing_in_installed_code(text):
            site, _, file = path.rpartition("site-packages/")
            if file not in target.wheel.files or (prefix, missing) in self._told_modules:
                continue
            name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            frame = Frame(file=path, line=line, function="", lines=())
            error = RemoteError(type="ModuleNotFoundError", message="", missing=missing, frames=(frame,), relation="")
            found = explain(name, (error,), target, (Path(f"{site}site-packages"),), self._settings.root)
            if found.kind is Kind.UNDECLARED:
                self._told_modules.add((prefix, missing))
                return f"Cause: {file}, line {line}, imports {missing}: {found.cause}\nFix: {found.fix}"
        return ""

    def _is_own(self, module: str) -> bool:
        """Return whether the project has files of that name: its directory is not on ``sys.path``."""
        root, cwd = self._settings.root, self._settings.cwd
        places = {root, cwd, root / "src", *(path for path in root.iterdir() if path.is_dir())}
        return any((place / name).exists() for place in places for name in (module, f"{module}.py"))

    def _describe_modules(self, modules: Sequence[str]) -> str:
        from pytest_wheelcheck.targets.preparing.known_modules import distribution_of

        if not modules:
            return ""
        names = list(dict.fromkeys(map(distribution_of, modules)))
        line = addition(self._config, "wheel_requires", [*self._config.getini("wheel_requires"), *names])
        options = " ".join(f"--wheel-requires {shlex.quote(name)}" for name in names)
        verb = "is" if len(modules) == 1 else "are"
        return (
            f"Cause: the tests import {' and '.join(modules)}, which {verb} not installed: "
            f"the environment of the tests is incomplete, which says nothing about the wheel\n"
            f"Fix: set {line}, add what brings it to a dependency group that --wheel-group names, or pass {options}"
        )

    def _describe(self, found: _Found) -> str:
        reasons = dict.fromkeys(reason for reasons in found.values() for reason in reasons)
        additions = []
        for key in dict.fromkeys(source.key for source in found):
            new = [source.value for source in found if source.key == key]
            additions.append(addition(self._config, key, [*self._config.getini(key), *new]))
        options = [f"{source.flag} {shlex.quote(source.value)}" for source in found]
        return f"Cause: {'; '.join(reasons)}\nFix: set {' and '.join(additions)}, or pass {' '.join(options)}"

    def _find_sources(self, target: Target) -> Iterator[_Source]:
        """Yield the groups and extras that bring something, those for tests first."""
        from pytest_wheelcheck.targets.preparing.declared import extra_requirements
        from pytest_wheelcheck.targets.preparing.dependency_groups import read_groups
        from pytest_wheelcheck.targets.preparing.tool_errors import names

        settings = self._settings
        groups = read_groups(settings.root)
        requested = set(map(canonicalize_name, settings.groups))
        installed = set(names(settings.requires))
        for group, lines in groups.items():
            installed |= set(names(lines)) if canonicalize_name(group) in requested else set()
        for group in sorted(groups, key=_order):
            yield _Source(
                flag="--wheel-group",
                key="wheel_groups",
                value=group,
                shown=f"the dependency group {group}",
                distributions=tuple(name for name in names(groups[group]) if name not in installed),
            )
        required = list(extra_requirements(target))
        for extra in sorted(target.wheel.extras, key=_order):
            brought = (canonicalize_name(name) for name, other in required if other == extra)
            yield _Source(
                flag="--wheel-requires",
                key="wheel_requires",
                value=f"{target.wheel.name}[{extra}]",
                shown=f"the extra {extra}",
                distributions=tuple(name for name in brought if name not in installed),
            )


def _order(name: str) -> tuple[int, str]:
    return _TEST_NAMES.index(name) if name in _TEST_NAMES else len(_TEST_NAMES), name

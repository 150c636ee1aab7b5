"""How a native module gets its name and its place in a wheel, in the terms of the project's build backend."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.targets.planning.left_out import project_name, read_configuration, source_directories
from pytest_wheelcheck.targets.preparing.explanations import ANY_BACKEND, Explanation

#: What to write, by the name of a distribution that builds. ``{module}`` is dotted; ``{package}`` is a path.
_LINES = {
    "maturin": '`module-name = "{module}"` in [tool.maturin] of pyproject.toml',
    "setuptools-rust": '`target = "{module}"` in [[tool.setuptools-rust.ext-modules]] of pyproject.toml',
    "scikit-build-core": "`install(TARGETS {name} DESTINATION {package})` in CMakeLists.txt",
    "meson-python": "`py.extension_module('{name}', ..., subdir: '{package}', install: true)` in meson.build",
}


def with_backend(found: Explanation, wheel: Wheel, root: Path) -> Explanation:
    """Give an explanation the fix for the project's build backend, if the wheel may lack a native module of the project.

    :param root: the project's directory.
    """
    if found.fix != ANY_BACKEND or "." not in found.missing:
        return found
    configuration = read_configuration(root)
    backend = _backend(configuration)
    name = project_name(configuration)
    is_other = name != "" and canonicalize_name(name) != canonicalize_name(wheel.name)
    if not backend or is_other or _has_source(found.missing, root, configuration):
        return found
    package, _, last = found.missing.rpartition(".")
    line = _LINES[backend].format(module=found.missing, name=last, package=package.replace(".", "/"))
    others = [module for module in wheel.extension_modules if module.rpartition(".")[2].strip("_") == last.strip("_")]
    others = others or [module for module in wheel.extension_modules if "." not in module]
    has = f" (the wheel has {others[0]})" if others else ""
    return replace(found, fix=f"if it is the native module{has}, set {line}; otherwise {ANY_BACKEND}")


def _backend(configuration: Mapping[str, Any]) -> str:
    """Return the distribution that builds native modules; empty for any that :data:`_LINES` does not have."""
    system = configuration.get("build-system", {})
    requires = system.get("requires", []) if isinstance(system, dict) else []
    names = set()
    for text in requires if isinstance(requires, list) else []:
        with contextlib.suppress(InvalidRequirement, TypeError):
            names.add(canonicalize_name(Requirement(text).name))
    return next((backend for backend in _LINES if backend in names), "")


def _has_source(module: str, root: Path, configuration: Mapping[str, Any]) -> bool:
    """Return whether the source tree has the module as Python code."""
    path = module.replace(".", "/")
    places = [root / base / path for base in source_directories(configuration)]
    return any(place.with_name(f"{place.name}.py").is_file() or place.is_dir() for place in places)

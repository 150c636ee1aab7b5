"""Targets whose interpreter the ``Requires-Python`` of the wheel excludes."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_wheelcheck.errors import InstallError
from pytest_wheelcheck.targets.planning.requires_python import admitted_minors, satisfies
from pytest_wheelcheck.targets.planning.specs import Interpreter, parse_specs
from pytest_wheelcheck.targets.planning.tag_groups import group_tags, possible_interpreters
from pytest_wheelcheck.targets.target import Target


def refuse_python(target: Target, pythons: Sequence[str]) -> None:
    """Refuse what pip refuses: uv, which installs here, checks only the lower bound of ``Requires-Python``.

    :param pythons: the values of ``--wheel-python``.
    :raises InstallError: the wheel is not for the target's version.
    """
    wheel, version = target.wheel, target.runtime.installation.version
    if satisfies(wheel.requires_python, version):
        return
    shown = target.runtime.installation.version_text
    if _was_named(target, pythons) and _has_others(target):
        cause = "this interpreter was requested by name, and an upper bound excludes it"
        fix = "choose another with --wheel-python, or widen requires-python in pyproject.toml"
    else:
        tag = next((str(tag) for tag in wheel.tags if str(tag) in target.runtime.installation.tags), "")
        cause = f"the tag {tag} of the wheel is for this version, and Requires-Python in its METADATA excludes it"
        fix = (
            f"change requires-python in pyproject.toml so that it includes {version[0]}.{version[1]}, or do not build this "
            "wheel (cibuildwheel: `skip`)"
        )
    raise InstallError(
        f"{wheel.shown} is not for Python {shown}: Requires-Python is {wheel.requires_python}", cause=cause, fix=fix
    )


def _was_named(target: Target, pythons: Sequence[str]) -> bool:
    """Return whether the user named this interpreter, or gave a path, which may be its."""
    installation = target.runtime.installation
    own = Interpreter(
        version=installation.version[:2],
        implementation=installation.implementation,
        free_threaded=installation.free_threaded,
    )
    return any(spec.path is not None or spec.interpreter == own for spec in parse_specs(pythons))


def _has_others(target: Target) -> bool:
    """Return whether the wheel can be installed for any version of Python that its tags admit."""
    wheel, platform = target.wheel, target.runtime.platform
    groups = [group for group in group_tags(wheel, platform) if group.platform == platform]
    return any(
        admitted_minors(wheel.requires_python, [interpreter.version[1]])
        for interpreter in possible_interpreters(wheel.tags)
        if any(group.admits(interpreter) for group in groups)
    )

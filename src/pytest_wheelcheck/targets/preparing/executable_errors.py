"""Explains the traceback of an executable that did not find a module."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_wheelcheck.results import Frame, RemoteError
from pytest_wheelcheck.setting_lines import list_line
from pytest_wheelcheck.targets.preparing.explanations import NO_FAULT
from pytest_wheelcheck.targets.preparing.installed_target import InstalledTarget
from pytest_wheelcheck.targets.preparing.missing_modules import explain

_ERROR = re.compile(r"^ModuleNotFoundError: (No module named '([\w.]+)'.*)$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.+)", line (\d+)(?:, in (.*))?$', re.MULTILINE)


def explain_missing_module(name: str, stderr: str, installed: InstalledTarget) -> tuple[Sequence[str], bool]:
    """Return why an executable did not find a module: lines of text, and whether that says nothing about the wheel.

    :param name: of the executable.
    :param stderr: what it wrote.
    :returns: no lines if its output does not end with such an error.
    """
    text = installed.session.paths.text_from_target(stderr)
    found = list(_ERROR.finditer(text))
    if not found or len(text[found[-1].end() :].splitlines()) > 1:
        return (), False
    message, missing = found[-1].groups()
    start = text.rfind("Traceback (most recent call last)", 0, found[-1].start())
    frames = tuple(
        Frame(file=file, line=int(line), function=function or "", lines=())
        for file, line, function in _FRAME.findall(text[max(start, 0) : found[-1].start()])
    )
    if not frames:
        return (), False
    error = RemoteError(type="ModuleNotFoundError", message=message, missing=missing, frames=frames, relation="")
    sites, project = installed.environment.site_directories, installed.settings.root
    explanation = explain(name, (error,), installed.target, sites, project)
    if explanation.kind in NO_FAULT:
        return (f"{name} {explanation.reason}",), True
    cause = explanation.cause or (f"{name} {explanation.reason}" if explanation.reason else "")
    # That key is for the import check.
    fix = explanation.fix if "import_ignore = " not in explanation.fix else ""
    off = f"if {name} is not for this target, set {list_line('executables', f'{name}: off')}"
    return (
        f"ModuleNotFoundError: {message}",
        *([f"Cause: {cause}"] if cause else []),
        f"Fix: {f'{fix}, or {off}' if fix else off}",
    ), False

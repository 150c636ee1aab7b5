"""The options of pytest-cov in a run with wheels: targets measure, and the host makes the reports of all data.

The host need not have pytest-cov. If it has, it must not measure this process.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, Protocol

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.settings import Coverage

#: The options and how many values they take, as :mod:`argparse` says it.
ACTIONS: dict[str, Any] = {
    name: SimpleNamespace(dest="cov_source" if name == "--cov" else name[2:].replace("-", "_"), nargs=nargs)
    for name, nargs in (
        ("--cov", "?"),
        ("--cov-reset", 0),
        ("--cov-report", None),
        ("--cov-config", None),
        ("--no-cov-on-fail", 0),
        ("--no-cov", 0),
        ("--cov-fail-under", None),
        ("--cov-append", 0),
        ("--cov-branch", 0),
        ("--cov-precision", None),
        ("--cov-context", None),
    )
}

#: The kinds of reports (``--cov-report``).
_REPORTS = ("term", "term-missing", "annotate", "html", "xml", "json", "markdown", "markdown-append", "lcov")


class _Argument(Protocol):
    @property
    def argv(self) -> tuple[str, ...]: ...

    @property
    def value(self) -> str: ...


def read(arguments: Iterable[_Argument]) -> Coverage | None:
    """Read the options of pytest-cov; ``None`` if they do not ask for coverage.

    :raises UsageError: a value is invalid.
    """
    # One entry for each --cov; None is one without a value.
    sources: list[str | None] = []
    reports: dict[str, str] = {}
    values: dict[str, str] = {}
    for argument in arguments:
        name = argument.argv[0].partition("=")[0]
        if name == "--cov":
            sources.append(argument.value if len(argument.argv) > 1 or "=" in argument.argv[0] else None)
        elif name == "--cov-reset":
            sources.clear()
        elif name == "--cov-report":
            kind, _, destination = argument.value.partition(":")
            if kind and kind not in _REPORTS:
                raise UsageError(
                    f"--cov-report={argument.value}: there is no {kind}", fix=f"one of {', '.join(_REPORTS)}"
                )
            reports[kind] = destination
        else:
            values[name] = argument.value
    if not sources or "--no-cov" in values:
        return None
    if not reports:
        reports = {"term": ""}
    return Coverage(
        sources=() if None in sources else tuple(source for source in sources if source is not None),
        options=(
            *(["--cov-branch"] if "--cov-branch" in values else []),
            *([f"--cov-context={values['--cov-context']}"] if "--cov-context" in values else []),
        ),
        reports=tuple((kind, destination) for kind, destination in reports.items() if kind),
        config=values.get("--cov-config", ""),
        append="--cov-append" in values,
        fail_under=_number(values, "--cov-fail-under"),
        precision=None if (precision := _number(values, "--cov-precision")) is None else int(precision),
        not_on_failure="--no-cov-on-fail" in values,
    )


def _number(values: dict[str, str], name: str) -> float | None:
    if name not in values:
        return None
    try:
        number = float(values[name])
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise UsageError(f"{name}={values[name]} is not a number from 0 to 100")
    return number

"""What a check is, and how it runs.

A check is a row of :data:`~pytest_wheelcheck.checks.table.CHECKS`: texts for users, and a function that takes the
:class:`~pytest_wheelcheck.checks.contents.Contents` of a wheel and yields one message for each defect. The function
raises only if it cannot check; that is an error of the run, never a pass.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.checks.parser_client import ImpossibleHereError
from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.model import Finding, Outcome, Severity, Wheel

#: Maximum number of findings of one check that are reported one by one.
MAX_FINDINGS = 50

#: Takes the contents of a wheel, yields one message for each defect, and raises if it cannot check.
CheckFunction = Callable[[Contents], Iterator[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One row of the table of checks.

    :param code: ``WHL`` and three digits. The first digit is the family.
    :param slug: short name for node ids: lower case and hyphens.
    :param title: the rule, in a few words.
    :param problem: the defect that the check finds.
    :param reason: why the defect matters to the person who installs the wheel.
    :param fix: how to fix it, with the command if there is one.
    :param source: PEP, specification section or upstream file that defines the rule.
    :param function: finds the defects.
    :param severity: severity of its findings.
    :param container: the check reads only the container, so it can run on a file that is not a wheel.
    :param stops_install: a wheel with this defect must not be installed, because installers crash on it, disagree about
        it, or can be made to write outside of the environment.
    :param applies: returns whether the check is relevant for a wheel.
    """

    code: str
    slug: str
    title: str
    problem: str
    reason: str
    fix: str
    source: str
    function: CheckFunction
    severity: Severity = Severity.ERROR
    container: bool = False
    stops_install: bool = False
    applies: Callable[[Wheel], bool] = lambda _: True

    @property
    def name(self) -> str:
        """``WHL203-wheel-file``, the last part of a node id."""
        return f"{self.code}-{self.slug}"

    def run(self, contents: Contents) -> CheckResult:
        """Run the check. Any exception becomes part of the result."""
        messages: list[str] = []
        error = skip_reason = ""
        try:
            messages.extend(self.function(contents))
        except ImpossibleHereError as impossible:
            skip_reason = str(impossible)
        except WheelError as failure:
            error = str(failure)
        except Exception:  # noqa: BLE001 - a check that raises anything is an error outcome, and never stops the run
            error = traceback.format_exc()
        return CheckResult(
            check=self,
            findings=tuple(
                Finding(code=self.code, severity=self.severity, message=message, reason=self.reason, fix=self.fix)
                for message in limit_messages(list(dict.fromkeys(messages)))
            ),
            error=error,
            skip_reason=skip_reason,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """The result of one check on one wheel.

    :param findings: the defects that it found.
    :param error: why it could not check, with the traceback; empty if it could.
    :param skip_reason: why the check cannot run here, by nature or without an optional dependency; empty if it can.
    """

    check: Check
    findings: tuple[Finding, ...] = ()
    error: str = ""
    skip_reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """``ERROR`` if it could not check, ``FAILED`` with an error finding, else ``SKIPPED`` or ``PASSED``."""
        if self.error:
            return Outcome.ERROR
        if any(finding.severity is Severity.ERROR for finding in self.findings):
            return Outcome.FAILED
        return Outcome.SKIPPED if self.skip_reason else Outcome.PASSED

    @property
    def stops_install(self) -> bool:
        """Whether the wheel must not be installed: a check that stops installs failed, or could not check."""
        return self.check.stops_install and self.outcome is not Outcome.PASSED


def limit_messages(messages: list[str]) -> list[str]:
    """Replace all messages after the first :data:`MAX_FINDINGS` by one."""
    omitted = len(messages) - MAX_FINDINGS
    return messages if omitted <= 0 else [*messages[:MAX_FINDINGS], f"and {omitted} more like these"]


def first_names(names: Sequence[str], limit: int = 5) -> str:
    """Join the first names with commas; the others are only counted."""
    omitted = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {omitted} more" if omitted > 0 else "")

"""What a check is, and how it runs.

A check is a row of :data:`~pytest_wheelcheck.checks.table.CHECKS`: texts for users, and a function that takes the
:class:`~pytest_wheelcheck.checks.contents.Contents` of a wheel and yields one message for each defect. The function
raises only if it cannot check; that is an error of the run, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.checks.parser_client import ImpossibleHereError
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.model import Finding, Outcome, Severity, Wheel
from pytest_wheelcheck.results import describe_unexpected, format_traceback

#: Maximum number of findings of one check that are reported one by one.
MAX_FINDINGS = 50


@dataclass(frozen=True, slots=True)
class Advice:
    """A message whose finding is a warning, also of a check whose findings are errors: the wheel may work."""

    message: str


@dataclass(frozen=True, slots=True)
class Consequence:
    """A message about a defect that another check explains, if that check finds one as well.

    :param of: code of the other check.
    :param file: the file that both are about; empty for a defect of the whole wheel.
    """

    message: str
    of: str
    file: str = ""

    def is_explained_by(self, findings: Iterable[Finding]) -> bool:
        """Whether the findings of the other check are about the same file."""
        return any(finding.message.startswith(self.file) for finding in findings)


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A message about a defect that does not matter for the reason of the check, but for another one."""

    message: str
    reason: str


Message = str | Advice | Consequence | Reasoned

#: Takes the contents of a wheel, yields one message for each defect, and raises if it cannot check.
CheckFunction = Callable[[Contents], Iterator[Message]]


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
    :param severity: severity of its findings, except those whose message is an :class:`Advice`.
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
        messages: list[Message] = []
        error = skip_reason = traceback = ""
        try:
            messages.extend(self.function(contents))
        except ImpossibleHereError as impossible:
            skip_reason = str(impossible)
        except WheelcheckError as failure:
            error = str(failure)
        except Exception as failure:  # noqa: BLE001 - a check that raises anything is an error, and never stops the run
            error, traceback = describe_unexpected(failure), format_traceback(failure)
        reasons = {message.message: message.reason for message in messages if isinstance(message, Reasoned)}
        return CheckResult(
            check=self,
            findings=tuple(
                Finding(
                    code=self.code,
                    severity=severity,
                    message=message,
                    reason=reasons.get(message, self.reason),
                    fix=self.fix,
                )
                for severity, same in self._by_severity(dict.fromkeys(messages))
                for message in limit_messages(same)
            ),
            error=error,
            skip_reason=skip_reason,
            traceback=traceback,
            consequences=tuple(message for message in messages if isinstance(message, Consequence)),
        )

    def _by_severity(self, messages: Iterable[Message]) -> Iterator[tuple[Severity, list[str]]]:
        """Divide messages into those of the check's own severity, and those that are warnings in any check."""
        own: list[str] = []
        advice: list[str] = []
        for message in messages:
            if isinstance(message, Advice):
                advice.append(message.message)
            else:
                own.append(message if isinstance(message, str) else message.message)
        yield self.severity, own
        yield Severity.WARNING, advice


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """The result of one check on one wheel.

    :param findings: the defects that it found.
    :param error: why it could not check; empty if it could.
    :param skip_reason: why the check cannot run here, by nature or without an optional dependency; empty if it can.
    :param traceback: of an unexpected exception; empty without one.
    :param consequences: the messages that another check may explain.
    """

    check: Check
    findings: tuple[Finding, ...] = ()
    error: str = ""
    skip_reason: str = ""
    traceback: str = ""
    consequences: tuple[Consequence, ...] = ()

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


def order_by_cause(results: Sequence[CheckResult]) -> list[CheckResult]:
    """Put each result after the one that explains it, and let its messages refer to that check."""
    by_code = {result.check.code: result for result in results}
    first: list[CheckResult] = []
    later: dict[str, list[CheckResult]] = {}
    for result in results:
        explained = {
            consequence.message: consequence.of
            for consequence in result.consequences
            if consequence.of in by_code and consequence.is_explained_by(by_code[consequence.of].findings)
        }
        if not explained:
            first.append(result)
            continue
        findings = tuple(
            replace(
                finding,
                message=f"{finding.message} ({explained[finding.message]} explains it)",
                # Those of this check are about the defect as such, and would send the reader to another cause.
                reason=f"It follows from the defect that {explained[finding.message]} finds.",
                fix=f"correct what {explained[finding.message]} finds",
            )
            if finding.message in explained
            else finding
            for finding in result.findings
        )
        later.setdefault(next(iter(explained.values())), []).append(replace(result, findings=findings))

    def follow(result: CheckResult) -> Iterator[CheckResult]:
        yield result
        for other in later.get(result.check.code, ()):
            yield from follow(other)

    return [ordered for result in first for ordered in follow(result)]


def limit_messages(messages: list[str]) -> list[str]:
    """Replace all messages after the first :data:`MAX_FINDINGS` by one."""
    omitted = len(messages) - MAX_FINDINGS
    return messages if omitted <= 0 else [*messages[:MAX_FINDINGS], f"and {omitted} more like these"]


def first_names(names: Sequence[str], limit: int = 5) -> str:
    """Join the first names with commas; the others are only counted."""
    omitted = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {omitted} more" if omitted > 0 else "")

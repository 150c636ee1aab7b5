"""Whether the tests of a target ran in several threads, where the user asks pytest-run-parallel for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import THREADS, StepResult
from pytest_wheelcheck.targets.preparing.imports import GIL_CAUSE, GIL_FIX
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.worker.messages import FromWorker, Item
from pytest_wheelcheck.worker.parallel_threads import asks_for_several

#: Reasons for a single thread that a message lists, the most frequent first.
_MAX_REASONS = 5


class ThreadUse:
    """The tests of one target that ran, by the number of their threads.

    :param asked: the value of ``--parallel-threads``; empty without pytest-run-parallel.
    :param items: as the worker collected them.
    :param gil_module: as in the worker's messages, after the collection.
    """

    def __init__(self, asked: str = "", items: Sequence[Item] = (), gil_module: str | None = None) -> None:
        self._asked = asked
        self._threads = {item["id"]: item["threads"] for item in items}
        self._reasons_single = {item["id"]: item["single"] for item in items if item["single"]}
        self._several = frozenset(node_id for node_id, count in self._threads.items() if count > 1)
        self._gil = gil_module
        self._gil_since = "" if gil_module is None else "the collection of the tests"
        self._ran: set[str] = set()
        self._done: set[str] = set()

    def is_expected(self, target: Target) -> bool:
        """Return whether the user asks for threads, on an interpreter where they run in parallel."""
        return target.runtime.installation.free_threaded and asks_for_several(self._asked)

    def add(self, node_id: str, messages: Iterable[FromWorker], gil_module: str | None) -> None:
        """Add a test that has ended.

        :param gil_module: as in the worker's messages, after the test.
        """
        self._done.add(node_id)
        if any(message["type"] == "report" and _ran(message["data"]) for message in messages):
            self._ran.add(node_id)
        if gil_module is not None and self._gil is None:
            self._gil, self._gil_since = gil_module, node_id

    def result(self, selected: Collection[str], imports: Iterable[StepResult]) -> StepResult:
        """Return the result of the node. If not all tests ran in this process (``-x``, xdist), it is about the selected ones.

        :param selected: the tests of the target that this run selects.
        :param imports: the results of the import check.
        """
        option = f"--parallel-threads={self._asked}"
        if not selected:
            return StepResult(name=THREADS, outcome=Outcome.SKIPPED, text="no test was selected")
        if not all(self._threads.values()):
            return _error(
                f"{option}: nothing is known about the threads of the tests",
                "this version of pytest-run-parallel does not list which tests it runs in several threads",
                "install pytest-run-parallel 0.5 or newer",
            )
        if self._gil is not None:
            return self._gil_result(option, imports)
        ran = self._ran if self._done.issuperset(selected) else frozenset(selected)
        if not ran:
            return StepResult(name=THREADS, outcome=Outcome.SKIPPED, text="all tests were skipped")
        several, reasons = ran & self._several, self._reasons(ran)
        counts = f"{len(several)} of {len(ran)} tests ran in several threads ({option})"
        if several:
            text = "\n".join([counts, *reasons])
            return StepResult(name=THREADS, outcome=Outcome.PASSED, text=text, properties=((THREADS, counts),))
        auto = self._asked == "auto" and not self._reasons_single
        cause = (
            "pytest-run-parallel found one processor" if auto else "pytest-run-parallel takes no test for thread-safe"
        )
        fix = (
            "pass a number of threads"
            if auto
            else "if the tests are thread-safe, remove their marker thread_unsafe, or what makes them unsafe (the reasons are "
            "above); otherwise do not ask for threads"
        )
        return _error("\n".join([counts, *reasons]), cause, fix, counts)

    def _gil_result(self, option: str, imports: Iterable[StepResult]) -> StepResult:
        counts = f"with the GIL since {self._gil_since}: from then on, no threads ran in parallel ({option})"
        known = next((step for step in imports if step.name == f"import[{self._gil}]"), None)
        if known is not None and known.outcome is Outcome.FAILED:
            text = f"{counts}; {known.name} did not pass"
            return StepResult(name=THREADS, outcome=Outcome.SKIPPED, text=text, properties=((THREADS, counts),))
        if not self._gil:
            return _error(
                f"an import enabled the GIL in a free-threaded interpreter\n{counts}",
                f"{GIL_CAUSE}; its name is not known, because the warning about it was filtered",
                "show the warning: -W default::RuntimeWarning",
                counts,
            )
        text = f"importing {self._gil} enabled the GIL in a free-threaded interpreter\n{counts}"
        return _error(text, GIL_CAUSE, f"{GIL_FIX}; --ignore-gil-enabled runs the tests all the same", counts)

    def _reasons(self, ran: Collection[str]) -> list[str]:
        """Return a line for each reason why tests ran in one thread."""
        reasons = Counter(
            self._reasons_single.get(node_id, "") for node_id in sorted(ran) if node_id not in self._several
        )
        lines = [f"in one thread: {count}: {reason or 'no reason given'}" for reason, count in reasons.most_common()]
        return [*lines[:_MAX_REASONS], *(["…"] if len(lines) > _MAX_REASONS else [])]


def _ran(report: dict[str, object]) -> bool:
    """Return whether a report is that of a test function that ran: an expected failure is reported as a skip."""
    return report.get("when") == "call" and (report.get("outcome") != "skipped" or "wasxfail" in report)


def _error(text: str, cause: str, fix: str, counts: str = "") -> StepResult:
    return StepResult(
        name=THREADS,
        outcome=Outcome.ERROR,
        text=f"{text}\nCause: {cause}\nFix: {fix}",
        properties=((THREADS, counts),) if counts else (),
    )

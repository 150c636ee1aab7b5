"""``wheelcheck doctor WHEEL``: where a run would test wheels, what it would fetch, and what cannot be tested here."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.base import HOST_MACHINE
from pytest_wheelcheck.backends.boards import close_boards, open_boards
from pytest_wheelcheck.backends.preview import PreviewCatalog
from pytest_wheelcheck.backends.registry import parse_machines
from pytest_wheelcheck.cli import output
from pytest_wheelcheck.cli.fixes import fixes
from pytest_wheelcheck.cli.interpreters import Sources, parse_platform
from pytest_wheelcheck.errors import UsageError, WheelcheckError, did_you_mean
from pytest_wheelcheck.interpreters.base import Request, here
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.system import progress, temporary
from pytest_wheelcheck.targets.planning.boards import plan_everywhere
from pytest_wheelcheck.targets.planning.index_names import is_spec
from pytest_wheelcheck.targets.planning.release import BadWheel, Release, check_file, open_release
from pytest_wheelcheck.targets.planning.specs import parse_specs
from pytest_wheelcheck.targets.planning.tag_groups import group_tags
from pytest_wheelcheck.targets.target import NoTarget, Target

#: Any check: those that forbid an installation run, whatever is selected.
_ONE_CHECK = "WHL101"

#: The beginning of reasons that concern a board.
_ON_BOARD = "on "


def declare_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that are for wheels only."""
    for name, metavar in (("python", "SPEC"), ("machine", "NAME"), ("host", "BOARD")):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar=metavar, help=f"for wheels: see --wheel-{name}"
        )


def are_wheels(args: argparse.Namespace) -> bool:
    """Return whether the arguments of ``doctor`` are wheels.

    :raises UsageError: only some of them are, or an option for wheels is given without one.
    """
    wheels = [text for text in args.what if _is_wheel(text)]
    if wheels and len(wheels) < len(args.what):
        raise UsageError("architectures and wheels are both given", fix="run it for each of them")
    if not wheels and (args.python or args.machine or args.host):
        raise UsageError("--python, --machine and --host are for wheels", fix="name wheels, such as dist")
    for text in args.what if not wheels else ():
        guess = did_you_mean(text, [path.name for path in Path().iterdir()])
        if guess and not _is_platform(text):
            raise UsageError(f"{text}: no architecture, and there is no such file", fix=guess)
    return bool(wheels)


def _is_platform(text: str) -> bool:
    """Return whether an argument names an architecture or a platform."""
    try:
        parse_platform(text)
    except UsageError:
        return False
    return True


def _is_wheel(text: str) -> bool:
    separators = {os.sep, os.altsep or os.sep, "/", "*"}
    return is_spec(text) or text.endswith(".whl") or any(each in text for each in separators) or Path(text).exists()


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlannedTarget:
    """A target of a wheel, and what is fetched for it, or was fetched before."""

    target: Target
    provider: str
    parts: tuple[Part, ...]

    @property
    def missing(self) -> tuple[Part, ...]:
        """What a run would fetch."""
        return tuple(part for part in self.parts if not part.ready)

    def lines(self, width: int) -> Iterator[str]:
        """Return it as text.

        :param width: of the column with the names.
        """
        how = self.target.runtime.installation.how
        yield f"  {self.target.name:{width}}  {self.provider}: {how}{'' if self.missing else ' (ready)'}"
        yield from (f"    to be fetched: {part.name} ({_size(part.size)})" for part in self.missing)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for :mod:`json`."""
        runtime, installation = self.target.runtime, self.target.runtime.installation
        return {
            "target": self.target.name,
            "platform": runtime.platform.name,
            "interpreter": runtime.interpreter,
            "version": installation.version_text,
            "machine": "" if self.target.machine.name == HOST_MACHINE else self.target.machine.name,
            "execution": runtime.backend.category,
            "provider": self.provider,
            "how": installation.how,
            "assembled": installation.assembled,
            "ready": not self.missing,
            "parts": [{"name": part.name, "ready": part.ready, "bytes": part.size} for part in self.parts],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _NotTested:
    """Why a wheel, or a part of its targets, cannot be tested here.

    :param only_there: it is not for a board, and is tested elsewhere.
    """

    name: str
    outcome: Outcome
    reason: str
    fixes: tuple[str, ...] = ()
    only_there: bool = False

    def lines(self) -> Iterator[str]:
        """Return it as text."""
        first, *rest = self.reason.splitlines() or [""]
        yield f"  not tested here: {f'{self.name}: ' if self.name else ''}{first}"
        yield from (f"    {line}" for line in rest)
        yield from (f"    Fix: {fix}" for fix in self.fixes)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for :mod:`json`."""
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "advice": list(self.fixes),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlannedFile:
    """What a run would do with a file."""

    shown: str
    targets: tuple[_PlannedTarget, ...]
    not_tested: tuple[_NotTested, ...]

    def lines(self) -> Iterator[str]:
        """Return it as text."""
        yield self.shown
        width = max((len(each.target.name) for each in self.targets), default=0)
        for target in self.targets:
            yield from target.lines(width)
        for each in self.not_tested:
            yield from each.lines()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for :mod:`json`."""
        return {
            "wheel": self.shown,
            "targets": [each.to_json() for each in self.targets],
            "not_tested": [each.to_json() for each in self.not_tested],
        }


def run(args: argparse.Namespace, sources: Sources, find_problem: Callable[[], WheelcheckError | None]) -> int:
    """Report on wheels.

    :param find_problem: returns why no target at all can be prepared on this host, if so.
    :returns: 1 if a wheel, or one of its targets, cannot be tested here.
    :raises UsageError: an argument is wrong.
    """
    if spec := next(filter(is_spec, args.what), None):
        raise UsageError(
            f"{spec}: doctor downloads no wheels", fix="name files or directories; `pytest --wheel` downloads releases"
        )
    parse_specs(args.python)
    parse_machines(args.machine)
    with temporary.directory() as store, progress.log_to():
        cwd = Path.cwd()
        try:
            release = open_release(tuple(args.what), cwd=cwd, root=cwd, store=store / "wheels")
        except UsageError as error:
            raise UsageError(error.message.removeprefix("--wheel "), fix=error.fix) from None
        try:
            files = _plan(args, sources, release, find_problem())
        finally:
            close_boards()
    missing = tuple(dict.fromkeys(part for file in files for each in file.targets for part in each.missing))
    if args.json:
        known = [part.size for part in missing if part.size is not None]
        to_fetch = {"parts": len(missing), "bytes": sum(known), "unknown_sizes": len(missing) - len(known)}
        output.write_json({"wheels": [file.to_json() for file in files], "to_fetch": to_fetch})
    else:
        for file in files:
            output.write(file.lines())
        output.write([f"to be fetched: {_total(missing)}, in addition to dependencies and test tools"])
    return 1 if any(not each.only_there for file in files for each in file.not_tested) else 0


def _plan(
    args: argparse.Namespace, sources: Sources, release: Release, problem: WheelcheckError | None
) -> list[_PlannedFile]:
    stopped = {file: _why_stopped(file, release) for file in release.files}
    if problem is not None:
        nothing = _NotTested(name="", outcome=Outcome.ERROR, reason=str(problem))
        return [
            _PlannedFile(shown=file.shown, targets=(), not_tested=stopped[file] or (nothing,)) for file in release.files
        ]
    main = sources.catalog(offline=args.offline)
    preview = PreviewCatalog(main)
    boards = tuple(
        board if board.catalog is None else replace(board, catalog=PreviewCatalog(board.catalog))
        for board in open_boards(args.host, (), main)
    )
    runnable = [wheel for wheel in release.wheels if not stopped[wheel]]
    targets, without = plan_everywhere(runnable, args.python, preview, boards, parse_machines(args.machine))
    catalogs = {board.name: board.catalog for board in boards}

    def planned(target: Target) -> _PlannedTarget:
        catalog = catalogs.get(target.machine.name, preview)
        assert isinstance(catalog, PreviewCatalog)  # noqa: S101  made above
        runtime = target.runtime
        return _PlannedTarget(target=target, provider=catalog.offer(runtime).provider, parts=catalog.parts_of(runtime))

    return [
        _PlannedFile(
            shown=file.shown,
            targets=tuple(planned(target) for target in targets if target.wheel is file),
            not_tested=(
                *stopped[file],
                *(_not_tested(each, targets, preview) for each in without if each.wheel is file),
            ),
        )
        for file in release.files
    ]


def _why_stopped(file: Wheel | BadWheel, release: Release) -> tuple[_NotTested, ...]:
    """Return why a run would not install a file: it is no wheel, or not safe to install."""
    if isinstance(file, BadWheel):
        stopping = [file.step]
    else:
        results = check_file(file, release, select=(_ONE_CHECK,), ignore=())
        stopping = [step for step in results.steps if step.name in results.stopped_by]
    return tuple(_NotTested(name=step.name, outcome=step.outcome, reason=step.text) for step in stopping)


def _not_tested(reason: NoTarget, targets: Sequence[Target], catalog: PreviewCatalog) -> _NotTested:
    return _NotTested(
        name="" if reason.name == "no-target" else reason.name,
        outcome=reason.outcome,
        reason=reason.reason,
        fixes=tuple(_fixes_for(reason, catalog)),
        only_there=reason.outcome is Outcome.SKIPPED
        and reason.reason.startswith(_ON_BOARD)
        and any(target.wheel is reason.wheel for target in targets),
    )


def _fixes_for(reason: NoTarget, catalog: PreviewCatalog) -> Iterator[str]:
    """Return how the target could be tested, if its reason does not say so."""
    if "Fix: " in reason.reason or reason.reason.startswith(_ON_BOARD):
        return
    if "+" in reason.name:
        yield "correct --machine"
        return
    if re.search(r"^needs .* was requested|was requested, but the oldest", reason.reason):
        yield "correct --python"
        return
    groups = group_tags(reason.wheel, here())
    # The name ends with the platform, and another one may end with its name: musllinux-x86_64.
    named = [group for group in groups if reason.name.partition("-")[2] == group.platform.name]
    for group in named or groups[:1]:
        platform = group.platform
        if platform.libc and reason.reason.startswith(f"needs {platform.libc} "):
            yield f"pass --sysroot {platform.architecture}=DIR with a root file system that is newer"
        elif platform.system == here().system and reason.reason.startswith("Requires-Python"):
            yield "install an interpreter that Requires-Python admits"
        else:
            offers, _ = catalog.ask(Request(platform=platform))
            yield from fixes(platform, [reason.reason], any_found=bool(offers))


def _size(size: int | None) -> str:
    return "size not known" if size is None else f"{max(size / 1e6, 1):.0f} MB"


def _total(missing: Sequence[Part]) -> str:
    """Return how much a run would fetch for all wheels."""
    if not missing:
        return "nothing"
    known = [part.size for part in missing if part.size is not None]
    unknown = len(missing) - len(known)
    texts = [_size(sum(known))] if known else []
    if unknown:
        texts.append(f"{unknown} part{'s' * (unknown > 1)} whose size is not known")
    return " and ".join(texts)

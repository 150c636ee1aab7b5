"""Decides whether the shards in a merged report are a whole run (``--wheel-shard``)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_wheelcheck.reporting.report import Report, ShardReport

_SHARD = re.compile(r"[0-9]{1,4}/(?P<total>[0-9]{1,4})")

#: Files that a line names.
_MAX_FILES = 5


def shard_problems(report: Report) -> Iterator[str]:
    """Yield a line for each shard that is missing or there twice, for other files, and for each target that no shard has run.

    Hosts can divide the same release differently, so the shards of each host must be complete.
    """
    runs: dict[tuple[str, str], list[ShardReport]] = {}
    for shard in report.shards:
        match = _SHARD.fullmatch(shard.shard)
        if match is None:
            yield f"{shard.shard!r} is not a shard: the report is damaged"
        else:
            runs.setdefault((shard.host, match["total"]), []).append(shard)
    for (host, count), shards in runs.items():
        on_host = f" on {host}" if len(runs) > 1 else ""
        found = Counter(shard.shard.partition("/")[0] for shard in shards)
        numbers = [str(number) for number in range(1, int(count) + 1)]
        missing = [number for number in numbers if number not in found]
        yield from (f"shard {number} of {count}{on_host} is missing: pass its report" for number in missing)
        yield from (
            f"shard {number} of {count}{on_host} is there {times} times: pass one report of each shard"
            for number, times in found.items()
            if times > 1
        )
        yield from _other_files(shards, on_host)
        if not missing:
            yield from _lost_targets(report, shards)


def _other_files(shards: Sequence[ShardReport], on_host: str) -> Iterator[str]:
    first = shards[0]
    for shard in shards[1:]:
        different = sorted({*first.files} ^ {*shard.files})
        if different:
            names = ", ".join(dict.fromkeys(file.partition(" ")[0] for file in different[:_MAX_FILES]))
            more = f" and {len(different) - _MAX_FILES} more" if len(different) > _MAX_FILES else ""
            yield (
                f"shards {first.shard} and {shard.shard}{on_host} were given different wheels ({names}{more}): "
                "give every shard the same files, and run them again"
            )


def _lost_targets(report: Report, shards: Sequence[ShardReport]) -> Iterator[str]:
    tested = {f"{wheel.filename}::{target.name}" for wheel in report.wheels for target in wheel.targets}
    for name in dict.fromkeys(name for shard in shards for name in shard.elsewhere):
        if name not in tested:
            yield (
                f"{name}: one shard left it to another one, which has no such target: "
                "run all shards with the same options and interpreters"
            )

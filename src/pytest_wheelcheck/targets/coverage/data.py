"""The data that coverage has written in a target: taken from there, with paths of this host."""

from __future__ import annotations

import contextlib
import json
import ntpath
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.base import Environment, PathMapping
from pytest_wheelcheck.system.regular_files import Copier

#: The directory of all data, in the directory of the run; and the file that describes a target's part of it.
DIRECTORY, _ABOUT = "coverage", "about.json"

#: The name of a worker's data file. A worker that did not end normally leaves files whose names continue after a dot.
DATA = "data"

#: Bytes of the data of one target.
_LIMIT = 500 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetData:
    """The coverage data of one target, or of one of the processes of xdist there.

    :param number: of the target in the plan.
    :param files: copies of what the workers have written.
    :param sites: the directories of installed modules, also by their paths without links.
    :param tools: the directories with the test tools.
    :param problems: why data is missing.
    """

    number: int
    files: tuple[str, ...]
    sites: tuple[str, ...]
    tools: tuple[str, ...]
    problems: tuple[str, ...]


def take(
    directory: Path,
    workers: Sequence[Path],
    token: str,
    environment: Environment,
    overlays: Sequence[Path],
    paths: PathMapping,
    problem: str,
) -> None:
    """Copy the data of a target's workers to the directory of all data.

    :param directory: the target's own.
    :param workers: the directory of each worker that ran a test.
    :param token: see :class:`pytest_wheelcheck.targets.running.run.TargetRun`.
    :param paths: how the target names paths.
    :param problem: why files of the target are missing; empty if none are.
    """
    made = directory.parent / DIRECTORY / f"{directory.name}-{token}"
    made.mkdir(parents=True, exist_ok=True)
    copier = Copier(made, _LIMIT)
    problems = [problem] if problem else []
    for number, worker in enumerate(workers, 1):
        copier.tree(worker, str(number))
        if not problem and f"{number}/{DATA}" not in copier.copied:
            problems.append("a worker ended early, so what its last tests covered is not counted")
    if copier.omitted[0]:
        problems.append(f"{copier.omitted[0]} files of data are too large")
    files = []
    for name in copier.copied:
        if name.endswith(("-journal", "-wal", "-shm")):
            continue
        try:
            _translate(made / name, paths)
        except sqlite3.Error as error:
            problems.append(f"the data of a worker cannot be read: {error}")
        else:
            files.append(str(made / name))
    sites = environment.site_directories
    data = TargetData(
        number=int(directory.name),
        files=tuple(files),
        sites=tuple(dict.fromkeys(str(path) for site in sites for path in (site, site.resolve()))),
        tools=tuple(map(str, (*overlays, *sites))),
        problems=tuple(dict.fromkeys(problems)),
    )
    (made / _ABOUT).write_text(json.dumps(asdict(data)), encoding="utf-8")


def _translate(file: Path, paths: PathMapping) -> None:
    """Replace the target's paths in a data file by this host's (coverage: dbschema)."""
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("pragma trusted_schema = off")
        for number, path in database.execute("select id, path from file").fetchall():
            here = paths.text_from_target(path)
            if "\\" in here and not ntpath.isabs(here):
                here = here.replace("\\", "/")
            if here != path:
                # Names that differ in case only are one file there.
                database.execute("update or ignore file set path = ? where id = ?", (here, number))


def read_all(run_directory: Path) -> list[TargetData]:
    """Return the data of all targets, in the order of the plan."""
    found = []
    for file in (run_directory / DIRECTORY).glob(f"*/{_ABOUT}"):
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        more: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        found.append(TargetData(**more))
    return sorted(found, key=lambda data: (data.number, data.files))

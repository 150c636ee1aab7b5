"""What tests and crashes leave in a target, copied to the directory of ``--wheel-artifacts``."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.system.regular_files import Copier, safe_name
from pytest_wheelcheck.targets.running.remains import CORES, LEFT
from pytest_wheelcheck.targets.target import Target

#: Bytes of the artifacts of one target.
LIMIT = 500 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifacts:
    """The artifacts of one target.

    :param directory: has them.
    :param files: their paths below it.
    :param omitted: what was too much; empty if nothing was.
    """

    directory: Path
    files: tuple[str, ...]
    omitted: str = ""


def destination(target: Target, directory: Path, used: set[Path]) -> Path:
    """Return the directory for the artifacts of a target, which has nothing of an earlier run.

    :param directory: the value of the option.
    :param used: the directories of other targets: wheels of several directories may have the same name.
    """
    stem = safe_name(target.wheel.source.name.removesuffix(".whl"))
    name = safe_name(target.name)
    number, path = 1, directory / stem / name
    while path in used:
        number += 1
        path = directory / f"{stem}-{number}" / name
    used.add(path)
    for each in (path.parent, path):
        if each.is_symlink():
            each.unlink()
    if path.exists():
        shutil.rmtree(path)
    return path


def collect(own: Path, made: Path) -> Artifacts:
    """Copy the artifacts of a target.

    :param own: the target's own directory.
    :param made: receives them; made only if there are any.
    """
    copier = Copier(made, LIMIT)
    tokens = sorted(path.name for path in (own / LEFT).iterdir()) if _is_directory(own / LEFT) else []
    for token in tokens:
        # Several workers of xdist run tests of one target.
        copier.tree(own / LEFT / token / "artifacts", "artifacts" if token == "0" else f"artifacts/{token}")
    for log in sorted(own.glob("worker*.log")):
        if not log.is_symlink() and log.stat().st_size:
            copier.file(log, log.stat().st_size, [log.name.replace("worker0.", "worker.")])
    for cores in sorted((own.parent / CORES).glob(f"{own.name}-*")):
        copier.tree(cores, "cores")
    for temporary in sorted(path for path in own.iterdir() if re.fullmatch(r"t(0|gw\d+)", path.name)):
        if _is_directory(temporary):
            for base in sorted(path for path in temporary.iterdir() if re.fullmatch(r"b\d+", path.name)):
                copier.tree(
                    base, "/".join(("tmp", *([] if temporary.name == "t0" else [temporary.name]), base.name[1:]))
                )
    number, size = copier.omitted
    omitted = f"{number} files with {size >> 20} MiB were left out: more than {LIMIT >> 20} MiB" if number else ""
    return Artifacts(directory=made, files=tuple(copier.copied), omitted=omitted)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()

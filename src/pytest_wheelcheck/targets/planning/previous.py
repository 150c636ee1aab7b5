"""The previous release of a project on the package index, which ``--wheel-expect previous`` compares with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.system.index import files as index
from pytest_wheelcheck.system.index.files import IndexFile
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.planning.published import list_releases, previous_release
from pytest_wheelcheck.wheels.reader import open_wheel
from pytest_wheelcheck.wheels.sizes import FileSizes, read_sizes


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousRelease:
    """What the index has of the previous release of a project.

    :param shown: how ``--wheel`` names it.
    :param wheels: the tags of each of its wheels.
    :param pairs: wheels of this run, each with the wheel of that release that an installer would have taken instead.
    :param project: normalized name of the project.
    :param names: the file names of its wheels.
    :param sizes: the files of the wheels in *pairs*, by their paths.
    """

    shown: str
    wheels: tuple[tuple[Tag, ...], ...]
    pairs: tuple[tuple[Wheel, Wheel], ...]
    project: str = ""
    names: tuple[str, ...] = ()
    sizes: Mapping[Path, FileSizes] = field(default_factory=dict)


def find_previous(
    wheels: Sequence[Wheel], settings: InstallSettings, store: Path, where: str = "--wheel-expect previous"
) -> list[PreviousRelease]:
    """Find the previous release of each project, and download the wheels that correspond to those of this run.

    :param store: directory for copies of wheels.
    :param where: what asks for it, for messages.
    :raises UsageError: there is none, or the index must not be asked.
    :raises PackageIndexError: the index cannot be asked.
    """
    if settings.offline:
        raise UsageError(
            f"{where}: the package index cannot be asked with --wheel-offline",
            fix="omit --wheel-offline, or write the expected wheels as clauses",
        )
    found = []
    for name in dict.fromkeys(canonicalize_name(wheel.name) for wheel in wheels):
        own = [wheel for wheel in wheels if canonicalize_name(wheel.name) == name]
        version = max(Version(wheel.version) for wheel in own)
        release = previous_release(list_releases(name, settings), version)
        if release is None:
            raise UsageError(
                f"{where}: the package index has no wheels of {name} before {version}",
                fix="for a first release, write the expected wheels as clauses: `cp312: manylinux_x86_64 win_amd64`",
            )
        chosen = [(wheel, file) for wheel in own if (file := _corresponding(wheel, release.wheels))]
        files = list(dict.fromkeys(file for _, file in chosen))
        paths = dict(zip(files, index.fetch(files, settings, f"{name} {release.version}"), strict=True))
        opened = {
            file: open_wheel(path, shown=f"{release.shown}/{file.name}", store=store / f"{name}-{number}")
            for number, (file, path) in enumerate(paths.items())
        }
        found.append(
            PreviousRelease(
                shown=release.shown,
                wheels=tuple(tuple(parse_wheel_filename(file.name)[3]) for file in release.wheels),
                pairs=(pairs := tuple((wheel, opened[file]) for wheel, file in chosen)),
                project=name,
                names=tuple(file.name for file in release.wheels),
                sizes={path: read_sizes(path) for path in {wheel.path for pair in pairs for wheel in pair}},
            )
        )
    return found


def _corresponding(wheel: Wheel, files: Sequence[IndexFile]) -> IndexFile | None:
    """Return the file for the same interpreter and platform, whatever the version of the platform; ``None`` if there is none."""
    own = set(map(_kind, wheel.tags))
    return next((file for file in files if own & set(map(_kind, parse_wheel_filename(file.name)[3]))), None)


def _kind(tag: Tag) -> tuple[str, str, str]:
    family, _, rest = tag.platform.partition("_")
    architecture = rest.lstrip("0123456789_") if family in {"manylinux", "musllinux", "macosx"} else rest
    stable = tag.abi in {"abi3", "abi3t"}
    family = "manylinux" if family.startswith("manylinux") else family
    return "" if stable else tag.interpreter, tag.abi, f"{family}_{architecture}"

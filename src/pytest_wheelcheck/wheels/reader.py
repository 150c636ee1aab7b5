"""Opens a wheel safely and parses it, once, into a frozen :class:`~pytest_wheelcheck.model.Wheel`.

Nothing is unpacked to disk. The container is checked first (:mod:`~pytest_wheelcheck.wheels.inspection`). Everything
after that works on our own copy, so the user's file may change during a run.

Source: the binary distribution format (PEP 427), compatibility tags (PEP 425).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import tempfile
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.wheels.binary import format_of
from pytest_wheelcheck.wheels.container import CHUNK, Container, Member
from pytest_wheelcheck.wheels.dist_info import find_dist_info, read_console_scripts, read_metadata
from pytest_wheelcheck.wheels.inspection import inspect
from pytest_wheelcheck.wheels.modules import find_extension_modules, find_import_names
from pytest_wheelcheck.wheels.sizes import find_sizes


def open_wheel(path: Path, *, shown: str, store: Path) -> Wheel:
    """Copy a wheel, check its container, and parse it.

    :param path: the user's file.
    :param shown: the path as shown in node ids.
    :param store: directory for the copy, which becomes ``store/<first 16 digits of the sha256>/<file name>``.
    :raises WheelError: the file cannot be read, is not named like a wheel, or has a damaged, ambiguous or unsafe
        container. Errors in metadata and RECORD are left to the checks.
    """
    name, version, build, tags = parse_name(path.name, shown=shown)
    copy, digest, size = _copy(path, store, shown=shown)
    container = inspect(copy)
    if defects := container.blocking_defects:
        raise WheelError(
            f"{shown} is not safe to open: {defects[0].message}",
            cause="the file is damaged, or was made so that different programs read it differently",
            fix="build or download the wheel again; `wheelcheck checks WHL1` explains each code",
            details="\n".join(f"{defect.kind.value}: {defect.message}" for defect in defects),
        )
    dist_info = find_dist_info(container, shown=shown)
    metadata = read_metadata(container, dist_info)
    data_directory = dist_info.removesuffix(".dist-info") + ".data"
    installed = installed_files(container, data_directory)
    scripts = _find_scripts(container, data_directory)
    modules = find_extension_modules(container, installed)
    return Wheel(
        path=copy,
        shown=shown,
        source=Path(os.path.abspath(path)),  # noqa: PTH100 - links are kept as the user wrote them
        sha256=digest,
        size=size,
        name=name,
        version=version,
        build=build,
        tags=tags,
        dist_info=dist_info,
        requires_python=metadata.get("requires_python"),
        requires=tuple(metadata.get("requires_dist", ())),
        extras=tuple(metadata.get("provides_extra", ())),
        console_scripts=tuple(read_console_scripts(container, dist_info)),
        files=tuple(sorted(installed)),
        scripts=tuple(sorted(scripts)),
        binaries=tuple(sorted(name for name, member in scripts.items() if format_of(container.head(member, 8)))),
        import_names=find_import_names(installed, modules),
        extension_modules=modules,
        classifiers=tuple(metadata.get("classifiers", ())),
        contents=find_sizes(container.members, dist_info),
    )


def parse_name(filename: str, *, shown: str = "") -> tuple[str, str, str, tuple[Tag, ...]]:
    """Return name, version, build tag and tags of a wheel's file name, as written, with the tags expanded (PEP 425).

    :param shown: the path for the error message.
    :raises WheelError: it is not the file name of a wheel (PEP 427, "File name convention").
    """
    try:
        parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise WheelError(
            f"{shown or filename} is not named like a wheel: {error}",
            cause="the file was renamed, or is not a wheel",
            fix="a wheel is named name-version(-build)-python-abi-platform.whl; let the build tool name it",
        ) from error
    # packaging normalizes name and version and returns the tags as a set. The checks compare the spelling with
    # METADATA, and targets follow the order of the tags, so the parts are split here.
    name, version, *build, python, abi, platform = filename.removesuffix(".whl").split("-")
    product = itertools.product(python.split("."), abi.split("."), platform.split("."))
    return name, version, "".join(build), tuple(dict.fromkeys(Tag(*parts) for parts in product))


def installed_files(container: Container, data_directory: str) -> dict[str, Member]:
    """Map paths below site-packages to members. Scripts, headers and data files are left out.

    :param data_directory: the name of the wheel's ``.data`` directory.
    """
    installed: dict[str, Member] = {}
    for member in container.files:
        path = member.name
        if path.startswith(f"{data_directory}/"):
            scheme, _, path = path.removeprefix(f"{data_directory}/").partition("/")
            if scheme not in {"purelib", "platlib"} or not path:
                continue
        installed.setdefault(path, member)
    return installed


def _find_scripts(container: Container, data_directory: str) -> dict[str, Member]:
    """Map the file names directly below ``.data/scripts`` to members."""
    prefix = f"{data_directory}/scripts/"
    return {
        name: member
        for member in container.files
        if (name := member.name.removeprefix(prefix)) != member.name and "/" not in name
    }


def _copy(path: Path, store: Path, *, shown: str) -> tuple[Path, str, int]:
    """Copy a file into the store and hash it while it is copied, so that it is read once."""
    digest = hashlib.sha256()
    size = 0
    partial: Path | None = None
    try:
        # Checked before the file is opened: opening a named pipe would wait for its other end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise WheelError(f"{shown} is not a file", fix="give the path of a .whl file or of a directory of them")
        store.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, tempfile.NamedTemporaryFile(dir=store, prefix=".", delete=False) as target:
            partial = Path(target.name)
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
        copy = store / digest.hexdigest()[:16] / path.name
        copy.parent.mkdir(exist_ok=True)
        # An existing copy is the same, and cannot be replaced on Windows while another process reads it.
        if not copy.exists():
            partial.replace(copy)
    except OSError as error:
        raise WheelError(
            f"{shown} cannot be read: {error.strerror or error}",
            cause="the file is missing or not readable, or the disk is full",
            fix=f"check the file, and the free space in {store}",
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return copy, digest.hexdigest(), size

"""Wine from packages: unpacked with the C library that it was built for, without root and without changing the system.

Debian and Ubuntu have packages of Wine. They are patched here so that Wine runs from the cache.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.interpreters.published.elf_loader import set_loader
from pytest_wheelcheck.interpreters.windows.pe_strip import strip_debug_sections
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which Wine is unpacked changes.
_GENERATION = 4

#: Packages that are unpacked, and packages that only some releases have.
_PACKAGES = ("wine64", "libwine", "libc6", "libgcc-s1", "libunwind8", "liblzma5", "libfontconfig1", "libexpat1")
OPTIONAL_PACKAGES = ("libz-mingw-w64",)

#: Wine's own fonts.
_FONTS = "fonts-wine"

#: Packages that are unpacked with their dependencies. Without this library, all programs write, outside of Wine's debug
#: channels, that Wine cannot find it. With it, but without fontconfig, Wine starts programs without end to make a desktop.
#: The host may have none of them, or one.
_COMPLETE_PACKAGES = ("libfreetype6",)

#: The configuration of fontconfig, which otherwise uses the host's, or writes that there is none. Wine has its own fonts.
_FONTS_CONFIGURATION = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig></fontconfig>
"""

#: The name of the file with it.
FONTS_FILE = "fonts.conf"

#: Directory of Wine's libraries for Windows programs.
WINDOWS_LIBRARIES = "usr/lib/x86_64-linux-gnu/wine/x86_64-windows"

#: Directories that Wine does not need.
_UNUSED = (
    "var",
    "etc",
    "usr/share/doc",
    "usr/i686-w64-mingw32",
    "usr/x86_64-w64-mingw32",
    "usr/x86_64-w64-mingw32ucrt",
)

#: What the user can do if there is no Wine.
ADVICE = "install Wine: apt install wine64, or the package of your distribution"


def key(repository: apt.Repository) -> str:
    """Return the cache key of the unpacked packages."""
    return f"wine/{repository.distribution}-{cache.digest(repository.uri, str(_GENERATION))}"


def version_of(directory: Path) -> str:
    """Return the version of an unpacked Wine, such as ``Wine 10.0 of debian stable``."""
    return (directory / "version").read_text(encoding="utf-8")


def version_text(versions: dict[str, str], repository: apt.Repository, suite: str) -> str:
    """Return the version of a Wine.

    :param versions: of the packages, by name.
    """
    version = versions["libwine"].partition("~")[0].partition("-")[0]
    return f"Wine {version} of {repository.distribution} {suite}"


def provision(repository: apt.Repository) -> Path:
    """Return the directory of the unpacked packages, fetched if necessary.

    :raises RuntimeUnavailableError: they cannot be fetched.
    """
    return cache.provision(key(repository), lambda side: _unpack(repository, side))


def _unpack(repository: apt.Repository, side: Path) -> None:
    problem: ProcessError | None = None
    for suite in dict.fromkeys(("stable", repository.codename, "testing", "unstable")):
        if repository.distribution == "ubuntu" and suite != repository.codename:
            continue
        shutil.rmtree(side / "usr", ignore_errors=True)
        try:
            with step(f"Wine from {repository.distribution} {suite}", side):
                versions = apt.fetch(
                    repository,
                    suite,
                    _PACKAGES,
                    side,
                    architecture="amd64",
                    dependencies=False,
                    optional=(*OPTIONAL_PACKAGES, _FONTS),
                    complete=_COMPLETE_PACKAGES,
                )
                _make_relocatable(side, cache.path(key(repository)))
        except ProcessError as error:
            problem = error
            continue
        (side / "version").write_text(version_text(versions, repository, suite), encoding="utf-8")
        return
    raise RuntimeUnavailableError(
        "Wine cannot be fetched from the host's package archive",
        cause=problem.message if problem else "",
        fix=ADVICE,
        details=problem.details if problem else "",
    )


def _make_relocatable(side: Path, final: Path) -> None:
    """Change the unpacked packages so that Wine runs from *final*."""
    if not (side / "lib64").exists():
        for name in ("lib", "lib64"):
            if not (side / name).exists() and (side / "usr" / name).is_dir():
                (side / name).symlink_to(f"usr/{name}")
    elif (side / "lib").is_dir() and not (side / "lib").is_symlink():
        shutil.copytree(side / "lib", side / "usr/lib", symlinks=True, dirs_exist_ok=True)
    programs = side / "usr/lib/wine"
    loader = final / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    for name in ("wine64", "wineserver64"):
        program = programs / name
        try:
            program.write_bytes(set_loader(program.read_bytes(), loader))
        except ValueError as error:
            raise RuntimeUnavailableError(
                f"the packages of Wine are not as expected: {name}: {error}", fix=ADVICE
            ) from error
    # It is a script, which the host's shell would run with the libraries of another system.
    (programs / "wineserver").write_bytes((programs / "wineserver64").read_bytes())
    (programs / "wineserver").chmod(0o755)
    # Wine searches in these paths, relative to its programs (Debian's patches move its directories).
    (side / "usr/lib/share").symlink_to("../share")
    data_directory = side / "usr/share/wine/wine"
    if not data_directory.exists():
        data_directory.symlink_to(".")
    copy_zlib(side / "usr/x86_64-w64-mingw32", side / WINDOWS_LIBRARIES)
    strip_libraries(side / WINDOWS_LIBRARIES)
    (side / FONTS_FILE).write_text(_FONTS_CONFIGURATION, encoding="utf-8")
    for name in _UNUSED:
        shutil.rmtree(side / name, ignore_errors=True)


def copy_zlib(source: Path, windows: Path) -> None:
    """Copy ``zlib1.dll`` from its own package (Debian's libz-mingw-w64), to which a trigger of dpkg would link.

    :param source: where that package's files are.
    :param windows: the directory of Wine's libraries for Windows programs.
    """
    if (source / "lib/zlib1.dll").is_file():
        (windows / "zlib1.dll").unlink(missing_ok=True)
        shutil.copy2(source / "lib/zlib1.dll", windows / "zlib1.dll")


def strip_libraries(windows: Path) -> None:
    """Remove debug sections, which are most of the size, from all libraries in a directory."""
    for path in windows.iterdir():
        data = path.read_bytes()
        stripped = strip_debug_sections(data)
        if len(stripped) < len(data):
            path.write_bytes(stripped)

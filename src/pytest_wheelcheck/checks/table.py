"""The table of all checks. The documentation, ``wheelcheck checks`` and the options are derived from it.

To add a check: write its function in the module of its family, a row here, and a test with a wheel that has the defect
and one that does not.
"""

from __future__ import annotations

from pytest_wheelcheck.checks import (
    container,
    extensions,
    hardware,
    hygiene,
    import_names,
    linux,
    macos,
    metadata,
    siblings,
    windows,
)
from pytest_wheelcheck.checks.check import Check
from pytest_wheelcheck.checks.contents import systems
from pytest_wheelcheck.model import Severity, Wheel
from pytest_wheelcheck.setting_lines import value_line
from pytest_wheelcheck.wheels.container import DefectKind

_APPNOTE = "APPNOTE.TXT (the ZIP specification)"
_RECORD = 'PEP 427, "The .dist-info directory"; packaging specification "Recording installed projects"'
_WHEEL = 'packaging specification "Binary distribution format"'
_REBUILD = "build the wheel again with a build backend: python -m build --wheel, or maturin build --release"
_REPACK = "python -m wheel unpack WHEEL && python -m wheel pack DIRECTORY writes a new RECORD with sha256"
_UPDATE_RECORD = "update RECORD in every step that changes the wheel after the build: use python -m wheel pack, not zip"
_ZIP = "write the archive with a build backend, or python -m wheel pack DIRECTORY; never with other ZIP tools"
_DIFFERENTLY = "Installers read such an archive differently, so the checked content may not be the installed content."


def is_native(wheel: Wheel) -> bool:
    """Whether a wheel is for some platforms only."""
    return wheel.platforms != ("any",)


def is_for_linux(wheel: Wheel) -> bool:
    """Whether a wheel with platform tags can be installed on Linux."""
    return is_native(wheel) and "linux" in systems(wheel)


def is_for_macos(wheel: Wheel) -> bool:
    """As :func:`is_for_linux`, for macOS."""
    return is_native(wheel) and "macos" in systems(wheel)


def is_for_windows(wheel: Wheel) -> bool:
    """As :func:`is_for_linux`, for Windows."""
    return is_native(wheel) and "windows" in systems(wheel)


def has_policy(wheel: Wheel) -> bool:
    """Whether a wheel has a manylinux or musllinux tag."""
    return any(platform.startswith(("manylinux", "musllinux")) for platform in wheel.platforms)


def has_modules(wheel: Wheel) -> bool:
    """Whether a wheel has extension modules."""
    return bool(wheel.extension_modules)


def has_stable_abi_modules(wheel: Wheel) -> bool:
    """Whether a wheel has modules for the stable ABI (PEP 384)."""
    return has_modules(wheel) and any(tag.abi.startswith("abi3") for tag in wheel.tags)


CHECKS: tuple[Check, ...] = (
    # Family 1: the ZIP container and RECORD
    Check(
        code="WHL101",
        slug="zip",
        title="the file is a complete ZIP archive",
        problem="The file is not a ZIP archive, or it is truncated or damaged.",
        reason="No installer can open it.",
        fix="build or download the wheel again, and compare its size and sha256 with the original",
        source=f"{_APPNOTE}, 4.3",
        function=container.structure(DefectKind.NOT_ZIP),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL102",
        slug="hidden-data",
        title="every byte belongs to one member",
        problem=(
            "Bytes are before, between or after the members, members overlap, or a second archive is hidden in "
            "the file."
        ),
        reason=_DIFFERENTLY + " Indexes refuse it.",
        fix=_ZIP,
        source=f"{_APPNOTE}, 4.3.1; CVE-2025-54368, CVE-2024-0450",
        function=container.structure(DefectKind.HIDDEN),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL103",
        slug="headers",
        title="both headers of a member agree",
        problem="The local header and the central directory have different names, methods, sizes or CRCs.",
        reason=_DIFFERENTLY,
        fix=_ZIP,
        source=f"{_APPNOTE}, 4.3.7, 4.3.12; CVE-2025-54368",
        function=container.structure(DefectKind.HEADERS),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL104",
        slug="duplicates",
        title="every name occurs once",
        problem="Two members have the same name, or one name is both a file and a directory.",
        reason="Which of them is installed depends on the installer.",
        fix="remove the files that are packed twice; with maturin, check `include` and `python-source`",
        source=f"{_APPNOTE}, 4.3.2; CVE-2025-54368",
        function=container.structure(DefectKind.DUPLICATE),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL105",
        slug="case",
        title="names differ by more than case",
        problem="Two names are the same on a file system that ignores case or accents.",
        reason="On macOS and Windows one of the files overwrites the other.",
        fix="rename one of the files",
        source='APFS reference, "Case sensitivity"; Microsoft, "Naming Files, Paths, and Namespaces"',
        function=container.collisions,
        container=True,
    ),
    Check(
        code="WHL106",
        slug="names",
        title="names stay inside site-packages",
        problem=(
            "A name is absolute, contains '..', a drive letter, a backslash or control characters, or is not "
            "valid UTF-8."
        ),
        reason="The file would be written outside of site-packages, or under another name on each system.",
        fix=_ZIP,
        source=f"{_APPNOTE}, 4.4.17; PEP 427; CVE-2026-1703",
        function=container.structure(DefectKind.NAME),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL107",
        slug="links",
        title="members are files and directories",
        problem="A member is a symbolic link, a device or another special file.",
        reason=(
            "Installers write the target of the link as text, or follow it out of site-packages. Indexes refuse it."
        ),
        fix=(
            "pack the file that the link points to (zip without -y); of a library, pack only the file named "
            "like its SONAME"
        ),
        source='PEP 427, "File contents"; CVE-2026-24049',
        function=container.structure(DefectKind.SPECIAL),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL108",
        slug="encrypted",
        title="no member is encrypted",
        problem="A member is encrypted.",
        reason="No installer asks for a password.",
        fix=_ZIP,
        source=f"{_APPNOTE}, 4.4.4",
        function=container.structure(DefectKind.ENCRYPTED),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL109",
        slug="compression",
        title="members are stored or deflated",
        problem="A member uses another compression method.",
        reason="Installers do not have to support it, and indexes refuse it.",
        fix=_ZIP,
        source='PEP 427, "File contents"; PEP 777, "Compression"',
        function=container.structure(DefectKind.METHOD),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL110",
        slug="expansion",
        title="the unpacked size is plausible",
        problem="The file unpacks to more than 50 times its size, or claims a huge number of members.",
        reason="Indexes refuse it, and installers fill the disk.",
        fix="leave generated or empty data out of the wheel, and create it at first use",
        source="limits of the package index for uploads",
        function=container.structure(DefectKind.EXPANSION),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL111",
        slug="descriptors",
        title="sizes precede the content",
        problem="A member was written as a stream: its sizes are in a data descriptor after its content.",
        reason=(
            "A reader that starts at the front cannot know where such a member ends, so readers may disagree. Indexes "
            "refuse it."
        ),
        fix="write the archive to a seekable file, not to a pipe",
        source=f"{_APPNOTE}, 4.3.9",
        function=container.structure(DefectKind.DESCRIPTOR),
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL112",
        slug="windows-names",
        title="Windows can create every name",
        problem=(
            "A name is a device name, ends with a dot or a space, or contains a character that Windows does not allow."
        ),
        reason="On Windows the installation fails, or writes another file than the one that is imported.",
        fix="rename the file, or leave it out of the wheels for Windows",
        source='Microsoft, "Naming Files, Paths, and Namespaces"',
        function=container.windows_names,
        container=True,
    ),
    Check(
        code="WHL113",
        slug="content",
        title="every member unpacks to its declared content",
        problem="A compressed stream is damaged, or has another length or CRC than declared.",
        reason="The installation fails halfway, or installs damaged files.",
        fix="build or download the wheel again, and compare its sha256 with the original",
        source=f"{_APPNOTE}, 4.4.7",
        function=container.damaged,
        container=True,
        stops_install=True,
    ),
    Check(
        code="WHL121",
        slug="record",
        title="RECORD exists",
        problem="There is no RECORD.",
        reason="Installers refuse the wheel, or cannot uninstall it.",
        fix=_REPACK,
        source=_RECORD,
        function=container.record_missing,
        stops_install=True,
    ),
    Check(
        code="WHL122",
        slug="record-form",
        title="RECORD can be parsed",
        problem="RECORD is not CSV in UTF-8, or has a line that is not path, hash and size.",
        reason="Installers exit with a traceback.",
        fix=_REPACK,
        source=_RECORD,
        function=container.record_form,
        stops_install=True,
    ),
    Check(
        code="WHL123",
        slug="record-complete",
        title="RECORD lists every file",
        problem="A file of the wheel is not in RECORD.",
        reason="The file cannot be verified, and stays when the project is uninstalled. Indexes refuse the wheel.",
        fix=_UPDATE_RECORD,
        source=_RECORD,
        function=container.record_unlisted,
        stops_install=True,
    ),
    Check(
        code="WHL124",
        slug="record-files",
        title="RECORD lists only files of the wheel",
        problem="RECORD lists a file that is not in the wheel.",
        reason="A file was lost after the build. Indexes refuse the wheel.",
        fix=_UPDATE_RECORD,
        source=_RECORD,
        function=container.record_without_file,
        stops_install=True,
    ),
    Check(
        code="WHL125",
        slug="record-hashes",
        title="hashes are correct",
        problem="The hash of a file differs from RECORD.",
        reason=(
            "The file was changed after the build: by a repair or signing step that did not update RECORD, or "
            "by someone else."
        ),
        fix="sign and strip before the wheel is packed, or pack it again with python -m wheel pack",
        source=_RECORD,
        function=container.record_digest,
        stops_install=True,
    ),
    Check(
        code="WHL126",
        slug="record-strength",
        title="every file has a strong hash",
        problem="A line of RECORD has no hash, or one that is weaker than sha256.",
        reason="PEP 427 forbids md5 and sha1. A file without a hash can be changed unnoticed.",
        fix=_REPACK,
        source=_RECORD,
        function=container.record_strength,
        stops_install=True,
    ),
    Check(
        code="WHL127",
        slug="record-sizes",
        title="sizes are correct",
        problem="The size of a file differs from RECORD.",
        reason="The file was changed after the build by a step that did not update RECORD.",
        fix="pack the wheel again with python -m wheel pack",
        source=_RECORD,
        function=container.record_size,
        stops_install=True,
    ),
    Check(
        code="WHL128",
        slug="record-repeats",
        title="RECORD lists each file once",
        problem="RECORD has several lines for one file.",
        reason="Tools that read RECORD into a table lose one of the lines.",
        fix=_REPACK,
        source=_RECORD,
        function=container.record_repeats,
        severity=Severity.WARNING,
    ),
    # Family 2: metadata, names and tags
    Check(
        code="WHL201",
        slug="file-name",
        title="the file name is normalized",
        problem="The name or the version in the file name is not normalized.",
        reason="Indexes will refuse such names, and some tools do not find the wheel.",
        fix="use a current build backend, which normalizes the name in pyproject.toml",
        source=f'{_WHEEL}, "Escaping and Unicode"; PEP 503; PEP 440',
        function=metadata.file_name,
        severity=Severity.WARNING,
    ),
    Check(
        code="WHL202",
        slug="dist-info",
        title="the .dist-info directory belongs to the wheel",
        problem="The .dist-info directory has another name or version than the file.",
        reason="Installers refuse it.",
        fix="do not rename wheels; change the version in pyproject.toml and build again",
        source=f'{_WHEEL}, "File contents"',
        function=metadata.dist_info,
        stops_install=True,
    ),
    Check(
        code="WHL203",
        slug="wheel-file",
        title="WHEEL exists and is valid",
        problem="WHEEL is missing, has a Wheel-Version that installers do not support, or has no Root-Is-Purelib.",
        reason="Installers refuse the wheel, or guess between purelib and platlib.",
        fix=_REBUILD,
        source=f'{_WHEEL}, "File contents"',
        function=metadata.wheel_file,
        stops_install=True,
    ),
    Check(
        code="WHL204",
        slug="wheel-tags",
        title="WHEEL has the tags of the file name",
        problem="The tags in WHEEL are not those of the file name.",
        reason="The file was renamed: its content was built for something else than the name says.",
        fix="do not rename wheels; python -m wheel tags --platform-tag=… WHEEL changes both",
        source=f'{_WHEEL}, "File contents"; PEP 425',
        function=metadata.wheel_tags,
    ),
    Check(
        code="WHL205",
        slug="build-tag",
        title="WHEEL has the build tag of the file name",
        problem="The build tag in WHEEL is not that of the file name.",
        reason="Tools that sort wheels by the build tag in WHEEL sort them differently.",
        fix="python -m wheel tags --build=… WHEEL changes both",
        source=f'{_WHEEL}, "File contents"',
        function=metadata.build_tag,
        severity=Severity.WARNING,
    ),
    Check(
        code="WHL206",
        slug="purelib",
        title="native code is installed into platlib",
        problem="Root-Is-Purelib is true although the wheel has extension modules.",
        reason=(
            "Where purelib and platlib differ (Fedora, RHEL), modules of several architectures share one directory."
        ),
        fix="declare the extension to the build backend, so that it does not mark the wheel as pure",
        source=f'{_WHEEL}, "File contents"; PEP 513',
        function=metadata.purelib,
    ),
    Check(
        code="WHL207",
        slug="any",
        title="a wheel for any platform has no native modules",
        problem="The platform tag is any, although the wheel has extension modules.",
        reason="It is installed on systems that cannot load its modules.",
        fix=("declare the extension to the build backend, or set the tag: python -m wheel tags --platform-tag=… WHEEL"),
        source='PEP 425, "Platform Tag"',
        function=metadata.any_platform,
    ),
    Check(
        code="WHL208",
        slug="metadata-file",
        title="METADATA exists",
        problem="There is no METADATA.",
        reason="Installers exit with a traceback, and indexes refuse the wheel.",
        fix=_REBUILD,
        source=f'{_WHEEL}, "File contents"',
        function=metadata.metadata_missing,
        stops_install=True,
    ),
    Check(
        code="WHL209",
        slug="metadata",
        title="METADATA is valid",
        problem="METADATA has a field that is missing, repeated, malformed, or newer than its Metadata-Version.",
        reason="Indexes refuse the upload, and installers ignore the field or fail.",
        fix="correct the field in pyproject.toml, or use a current build backend",
        source="core metadata specification, as packaging.metadata reads it",
        function=metadata.metadata_form,
    ),
    Check(
        code="WHL210",
        slug="metadata-name",
        title="METADATA has the name and version of the file name",
        problem="METADATA has another name or version than the file name.",
        reason="Installers refuse it: they would install another project than the requested one.",
        fix="do not rename wheels; change name or version in pyproject.toml and build again",
        source='core metadata specification, "Name", "Version"',
        function=metadata.metadata_names,
        stops_install=True,
    ),
    Check(
        code="WHL211",
        slug="requires-python",
        title="Requires-Python allows an interpreter of the tags",
        problem="Requires-Python excludes every interpreter that the tags allow.",
        reason="No installer will ever select this wheel.",
        fix="do not build this wheel (cibuildwheel: `skip`), or extend requires-python in pyproject.toml",
        source='core metadata specification, "Requires-Python"; PEP 425',
        function=metadata.requires_python,
    ),
    Check(
        code="WHL212",
        slug="entry-points",
        title="entry points are valid",
        problem="entry_points.txt cannot be parsed, or an entry is not module:object.",
        reason="The installed command, or the plugin, fails at start.",
        fix="correct the entry in pyproject.toml, [project.scripts] or [project.entry-points]",
        source='packaging specification "Entry points"',
        function=metadata.entry_points,
    ),
    Check(
        code="WHL213",
        slug="script-names",
        title="commands stay in the scripts directory",
        problem="The name of a command is a path.",
        reason="Installers write the command outside of the scripts directory.",
        fix="give the command a plain name in pyproject.toml, [project.scripts]",
        source='packaging specification "Entry points"; CVE-2026-8643',
        function=metadata.script_names,
        stops_install=True,
    ),
    Check(
        code="WHL214",
        slug="script-modules",
        title="the modules of commands exist",
        problem="A command needs a module of the project's own package that is not in the wheel.",
        reason="The installed command fails with ModuleNotFoundError.",
        fix="add the module to the wheel, or correct [project.scripts] in pyproject.toml",
        source='packaging specification "Entry points"',
        function=metadata.script_modules,
    ),
    Check(
        code="WHL215",
        slug="license-files",
        title="license files exist",
        problem="METADATA lists a license file that is not in the wheel.",
        reason="The license is not distributed with the wheel, and indexes refuse the upload.",
        fix="correct license-files in pyproject.toml, or use a current build backend",
        source='PEP 639, "License-File"',
        function=metadata.license_files,
    ),
    Check(
        code="WHL216",
        slug="data-directories",
        title=".data directories are valid",
        problem=(
            "A .data directory belongs to another distribution, or has a subdirectory that installers do not know."
        ),
        reason="Its content is installed into site-packages unchanged, or the installation fails.",
        fix="rename it to name-version.data/, with the subdirectories purelib, platlib, headers, scripts or data",
        source=f'{_WHEEL}, "The .data directory"',
        function=metadata.data_directories,
    ),
    Check(
        code="WHL217",
        slug="tags",
        title="tags are known",
        problem="A part of a tag is not an interpreter, ABI or platform that installers and indexes know.",
        reason="No installer selects the wheel, and indexes refuse it.",
        fix="let the build tool choose the tag; python -m wheel tags --help explains how to change it",
        source='packaging specification "Platform compatibility tags"',
        function=metadata.known_tags,
    ),
    Check(
        code="WHL218",
        slug="description",
        title="the description renders",
        problem="The long description is reStructuredText with errors.",
        reason="The package index renders it, and refuses the upload if it cannot.",
        fix=(
            'render it with `python -m readme_renderer README.rst`, or set readme = "README.md" in '
            "pyproject.toml if it is Markdown"
        ),
        source='core metadata specification, "Description-Content-Type"; readme_renderer',
        function=metadata.description,
    ),
    Check(
        code="WHL219",
        slug="import-names",
        title="declared import names are those of the modules",
        problem=(
            "METADATA declares a name (Import-Name, Import-Namespace) that the wheel does not have, or does not declare a module."
        ),
        reason=(
            "Tools find the project of an import by these names. A declared name that is missing was lost in the build; a "
            "module that is not declared is a warning."
        ),
        fix="correct import-names and import-namespaces in pyproject.toml, or add the module to the wheel",
        source='PEP 794; core metadata specification, "Import-Name", "Import-Namespace"',
        function=import_names.declared_names,
    ),
    # Family 3: Linux tags
    Check(
        code="WHL301",
        slug="policy",
        title="the files meet the manylinux or musllinux tag",
        problem=(
            "A file needs symbols or libraries that the tag does not allow. A warning for libraries that a dependency brings."
        ),
        reason=(
            'The import fails: with "version `GLIBC_…\' not found" on the older systems that the tag includes, or with "cannot '
            'open shared object file" on systems without a library that was not bundled.'
        ),
        fix=(
            "build in the image of the tag (cibuildwheel) or with maturin build --zig; auditwheel repair WHEEL "
            "bundles libraries and sets the tag that the files meet"
        ),
        source="PEP 513, 571, 599, 600, 656; auditwheel's policies",
        function=linux.policy,
        applies=has_policy,
    ),
    Check(
        code="WHL302",
        slug="bare-linux",
        title="the tag is more specific than linux",
        problem="The platform tag is linux_ARCH.",
        reason="The tag does not say which systems the wheel runs on, and indexes refuse it.",
        fix="auditwheel repair WHEEL, or maturin build --compatibility pypi",
        source="PEP 513; PEP 600",
        function=linux.bare_tag,
        applies=is_for_linux,
    ),
    Check(
        code="WHL303",
        slug="bare-linux-arm",
        title="the tag is more specific than linux, on 32-bit ARM",
        problem="The platform tag is linux_armv6l or linux_armv7l.",
        reason="Indexes accept the tag, but it does not say which systems the wheel runs on.",
        fix="auditwheel repair WHEEL sets a manylinux tag for armv7l",
        source="PEP 600; limits of the package index for uploads",
        function=linux.bare_arm_tag,
        severity=Severity.WARNING,
        applies=is_for_linux,
    ),
    Check(
        code="WHL304",
        slug="libc",
        title="files are linked against the tag's C library",
        problem="A file of a manylinux wheel needs musl, or a file of a musllinux wheel needs glibc.",
        reason="The C library that the file needs is missing, so the import fails.",
        fix=(
            "build in the image of the tag: cibuildwheel's manylinux and musllinux images, or maturin build "
            "--target …-musl"
        ),
        source="PEP 600; PEP 656",
        function=linux.c_library,
        applies=has_policy,
    ),
    Check(
        code="WHL305",
        slug="unused-library",
        title="bundled libraries are needed",
        problem="A library in the .libs directory is not needed by any other file.",
        reason="It only adds size, or the file that should need it finds another library on the system.",
        fix="run auditwheel repair on a fresh build; do not repair a repaired wheel",
        source='auditwheel, "repair"',
        function=linux.unused_library,
        severity=Severity.WARNING,
        applies=is_for_linux,
    ),
    Check(
        code="WHL306",
        slug="search-path",
        title="libraries are searched for in the wheel",
        problem="A file has an RPATH or RUNPATH that is absolute.",
        reason=(
            "The path is a directory of the build machine. On another machine, anyone may be able to put a "
            "library there."
        ),
        fix="patchelf --remove-rpath FILE, or auditwheel repair WHEEL; with CMake, set INSTALL_RPATH to $ORIGIN",
        source='ld.so(8), "Rpath token expansion"',
        function=linux.search_path,
        severity=Severity.WARNING,
        applies=is_for_linux,
    ),
    Check(
        code="WHL307",
        slug="unsafe-search-path",
        title="no library is loaded from where anyone may put it",
        problem="A file has an RPATH or RUNPATH that is relative, has an empty element, or is in a directory such as /tmp.",
        reason=(
            "The loader takes a relative path and an empty element from the working directory. Whoever can write there runs "
            "code in every process that imports the module."
        ),
        fix="patchelf --set-rpath '$ORIGIN' FILE, or --remove-rpath; with CMake, set INSTALL_RPATH to $ORIGIN",
        source="ld.so(8); glibc, elf/dl-load.c, fillin_rpath; CWE-426, CWE-427",
        function=linux.unsafe_search_path,
        applies=is_for_linux,
    ),
    # Family 4: macOS tags
    Check(
        code="WHL401",
        slug="macos-version",
        title="the tag includes no macOS that is older than the files need",
        problem="A slice needs a newer macOS than the tag says.",
        reason='On the older versions that the tag includes, the import fails with "Symbol not found".',
        fix=(
            "build everything that is linked with MACOSX_DEPLOYMENT_TARGET set to the version of the tag, or run delocate-wheel "
            "without that variable: it sets the tag that the files need"
        ),
        source='packaging specification "Platform compatibility tags"; mach-o/loader.h, LC_BUILD_VERSION',
        function=macos.minimum_version,
        applies=is_for_macos,
    ),
    Check(
        code="WHL402",
        slug="macos-slices",
        title="every file has the tag's architectures",
        problem="A file has no slice for an architecture of the tag.",
        reason='On Macs with that processor the import fails with "incompatible architecture".',
        fix=(
            "maturin build --target universal2-apple-darwin, ARCHFLAGS='-arch x86_64 -arch arm64', or "
            "delocate-merge of two wheels"
        ),
        source='packaging specification "Platform compatibility tags"; delocate, "--require-archs"',
        function=macos.slices,
        applies=is_for_macos,
    ),
    Check(
        code="WHL403",
        slug="macos-libraries",
        title="every library is part of macOS or in the wheel",
        problem=(
            "A file needs a library that is neither part of macOS nor found in the wheel. A warning if a dependency brings it."
        ),
        reason='The import fails with "Library not loaded" on every system without that library.',
        fix=(
            "delocate-wheel -v WHEEL bundles libraries; link extension modules with -undefined dynamic_lookup, "
            "not against Python itself"
        ),
        source='dyld(1); delocate, "delocate-wheel"',
        function=macos.dependencies,
        applies=is_for_macos,
    ),
    Check(
        code="WHL404",
        slug="macos-signature",
        title="arm64 code is signed",
        problem="A slice for arm64 has no signature, not even an ad-hoc one.",
        reason="macOS kills the process that loads it.",
        fix=(
            "codesign --force --sign - FILE after the last change of the file (strip and install_name_tool "
            "remove signatures), then python -m wheel pack"
        ),
        source='Apple, "macOS Big Sur 11 Universal Apps Release Notes", Code Signing',
        function=macos.signature,
        applies=is_for_macos,
    ),
    # Family 5: Windows tags
    Check(
        code="WHL501",
        slug="windows-architecture",
        title="files are for the tag's architecture",
        problem="A module, or a library that it needs, is for another architecture than the tag.",
        reason='The import fails with "%1 is not a valid Win32 application".',
        fix=(
            "build with an interpreter for the tag's architecture; for win_arm64 set the target: maturin build "
            "--target aarch64-pc-windows-msvc"
        ),
        source='Microsoft, "PE Format", Machine Types',
        function=windows.machine,
        applies=is_for_windows,
    ),
    Check(
        code="WHL502",
        slug="python-dll",
        title="modules are linked against the tag's interpreter",
        problem="A module needs a pythonXY.dll that does not match the tag.",
        reason='The import fails with "DLL load failed", or loads a second interpreter into the process.',
        fix="build with the interpreter of the tag; for abi3 define Py_LIMITED_API, or PyO3's feature abi3-py3X",
        source='CPython, "Stable ABI"; PC/python3dll.c',
        function=windows.python_dll,
        applies=is_for_windows,
    ),
    Check(
        code="WHL503",
        slug="windows-libraries",
        title="every DLL is part of Windows, of Python, or of the wheel",
        problem=(
            "A file needs a DLL that is not part of Windows or Python, and not in the wheel. A warning if a dependency brings it."
        ),
        reason='The import fails with "DLL load failed: The specified module could not be found".',
        fix=(
            "delvewheel repair WHEEL bundles DLLs; instead of msvcp140.dll, and of vcruntime140.dll in programs, link the "
            "runtime statically (Rust: -C target-feature=+crt-static); if users must install that runtime, ignore WHL503"
        ),
        source='Microsoft, "Dynamic-link library search order"; delvewheel',
        function=windows.dependencies,
        applies=is_for_windows,
    ),
    # Family 6: extension modules
    Check(
        code="WHL601",
        slug="readable",
        title="native files are valid",
        problem="A module, library or program is not a valid file of its format.",
        reason="The loader refuses it, or crashes.",
        fix="check the last step that changed the file (strip, patchelf, a line-ending filter), and build again",
        source='System V ABI; mach-o/loader.h; Microsoft, "PE Format"',
        function=extensions.unreadable,
        applies=is_native,
    ),
    Check(
        code="WHL602",
        slug="native-content",
        title="a wheel for one platform has native files",
        problem=(
            "The wheel has a platform tag and no native file. A warning if it has no Python modules: it may consist of "
            "headers, or of requirements for this platform."
        ),
        reason=(
            "The extension was lost in the build, which can go unnoticed for years in a package with a pure Python "
            "fallback; or the wheel is pure, and its tag excludes platforms on which it would work."
        ),
        fix="let the build fail if the extension cannot be built; tag a pure wheel py3-none-any",
        source='PEP 425, "Platform Tag"',
        function=extensions.no_native_file,
        applies=is_native,
    ),
    Check(
        code="WHL603",
        slug="suffix",
        title="modules have a suffix that the interpreter imports",
        problem="The suffix of an extension module is not one that the tag's interpreters import.",
        reason="The import fails with ModuleNotFoundError, because an interpreter only finds files with its own suffixes.",
        fix=(
            "build with the interpreter, C library and architecture of the tag; python -c 'import "
            "importlib.machinery as m; print(m.EXTENSION_SUFFIXES)' prints the suffixes"
        ),
        source="PEP 3149; CPython, Python/dynload_shlib.c, configure.ac",
        function=extensions.suffix,
        applies=has_modules,
    ),
    Check(
        code="WHL604",
        slug="init-function",
        title="modules export their init function",
        problem="A module does not export the PyInit_ function for its name.",
        reason='The import fails with "dynamic module does not define module export function".',
        fix=(
            "name the #[pymodule] function, or PYBIND11_MODULE, like the last part of the module's name; with "
            "maturin, see tool.maturin.module-name"
        ),
        source='PEP 489, "Export Hook Name"; PEP 793',
        function=extensions.init_name,
        applies=has_modules,
    ),
    Check(
        code="WHL605",
        slug="architecture",
        title="native files are for the tag's architecture",
        problem="A module, bundled library or script is for another processor or system than the tag.",
        reason='The import fails with "wrong ELF class", "invalid ELF header" or "Exec format error".',
        fix="build for the tag's architecture, and use separate build directories for each architecture",
        source='System V ABI, "Machine Information"; PEP 425',
        function=extensions.machine,
        applies=is_native,
    ),
    Check(
        code="WHL606",
        slug="same-modules",
        title="all wheels of the release have the same modules",
        problem="Another wheel for the same system has an extension module that this wheel lacks.",
        reason=(
            "The extension was lost in one build. In packages with a pure Python fallback, this can go "
            "unnoticed for years. If the other wheel is for another architecture, this is a warning."
        ),
        fix="let the build fail if the extension cannot be built",
        source="the other wheels of the release",
        function=extensions.lacks_module,
        applies=is_native,
    ),
    Check(
        code="WHL607",
        slug="abi3-version",
        title="the needed stable ABI is not newer than the tag",
        problem="A module of an abi3 wheel needs a function that was added to the stable ABI after the tag's version.",
        reason='On the older interpreters that the tag includes, the import fails with "undefined symbol".',
        fix=(
            "define Py_LIMITED_API for the oldest version, as PyO3's feature abi3-py3X does, or raise the tag: "
            "python -m wheel tags --python-tag=cp3X WHEEL"
        ),
        source='CPython, "Stable ABI", Misc/stable_abi.toml; abi3info',
        function=extensions.abi3_version,
        applies=has_stable_abi_modules,
    ),
    Check(
        code="WHL608",
        slug="abi3-unknown",
        title="modules need only the stable ABI",
        problem="A module of an abi3 wheel needs a function that is not part of the stable ABI.",
        reason=(
            "The function may change or disappear in any version. If the tag is for a version that abi3info's table does "
            "not contain completely, this is a warning."
        ),
        fix="compile with Py_LIMITED_API, which hides all other functions; with PyO3, use the feature abi3-py3X",
        source='CPython, "Stable ABI", Misc/stable_abi.toml; abi3info',
        function=extensions.abi3_unknown,
        applies=has_stable_abi_modules,
    ),
    Check(
        code="WHL609",
        slug="undefined-symbols",
        title="every symbol that a module needs is defined",
        problem=(
            "A module, or a bundled library that it needs, uses a symbol that no linked library, no file of the "
            "wheel and no interpreter defines."
        ),
        reason='The import fails with "undefined symbol", or on macOS with "symbol not found in flat namespace".',
        fix=(
            "link against the library that defines the symbol, and let the linker report undefined symbols: "
            "-Wl,-z,defs, or on macOS use -undefined dynamic_lookup only for the interpreter's symbols"
        ),
        source='System V ABI, "Symbol Table"; LSB, "Symbol Versioning"; mach-o/nlist.h, GET_LIBRARY_ORDINAL',
        function=extensions.undefined_symbols,
        applies=has_modules,
    ),
    Check(
        code="WHL610",
        slug="plain-library",
        title="plain libraries do not look like modules",
        problem=(
            "Files have the suffix of an extension module, but no working init function, and do not use Python's API, or "
            "modules are linked against them."
        ),
        reason=(
            "They work with cffi or ctypes. They cannot be imported, and tools that decide by the suffix report them as "
            "broken modules. The import check leaves them out."
        ),
        fix="give them the plain suffix .so, .dll or .dylib, or ignore WHL610 if the build backend does not allow that",
        source="PEP 3149; CPython, Python/dynload_shlib.c",
        function=extensions.plain_libraries,
        severity=Severity.WARNING,
        applies=is_native,
    ),
    # Family 7: real hardware
    Check(
        code="WHL701",
        slug="page-alignment",
        title="segments are aligned for the architecture's largest pages",
        problem="A segment is aligned for smaller pages than kernels for this architecture use.",
        reason=(
            'On a Raspberry Pi 5 (16 KiB) or a server with 64 KiB pages, loading fails with "ELF load command '
            'alignment not page-aligned".'
        ),
        fix=(
            "link with -Wl,-z,max-page-size=65536 (Rust: RUSTFLAGS='-C link-arg=-Wl,-z,max-page-size=65536'); "
            "do not run patchelf with --page-size 4096"
        ),
        source='psABI for the Arm 64-bit architecture, "Program Loading"; glibc, elf/dl-load.c',
        function=hardware.page_alignment,
        applies=is_for_linux,
    ),
    Check(
        code="WHL702",
        slug="executable-stack",
        title="no library requests an executable stack",
        problem="A library requests an executable stack, or does not declare that it needs none.",
        reason=(
            'glibc 2.41 and hardened kernels refuse it: "cannot enable executable stack as shared object requires".'
        ),
        fix='add .section .note.GNU-stack,"",%progbits to hand-written assembly, or link with -Wl,-z,noexecstack',
        source="glibc 2.41 release notes; ld(1), -z noexecstack",
        function=hardware.executable_stack,
        applies=is_for_linux,
    ),
    Check(
        code="WHL703",
        slug="text-relocations",
        title="no code needs relocation",
        problem="The loader must change the code of a file.",
        reason="SELinux and other hardened systems refuse it, because the code must be writable while it is loaded.",
        fix="compile everything with -fPIC, and link with -Wl,-z,text so that the build fails",
        source="System V ABI, DT_TEXTREL; ld(1), -z text",
        function=hardware.text_relocations,
        applies=is_for_linux,
    ),
    Check(
        code="WHL704",
        slug="static-tls",
        title="no library needs static TLS",
        problem=(
            "A library needs space in the block of thread-local storage that is allocated at the start of the process."
        ),
        reason=(
            'If many such libraries are loaded, the import fails with "cannot allocate memory in static TLS block".'
        ),
        fix="compile with -ftls-model=global-dynamic; for jemalloc, configure --disable-initial-exec-tls",
        source="System V ABI, DF_STATIC_TLS; ELF Handling For Thread-Local Storage",
        function=hardware.static_tls,
        severity=Severity.WARNING,
        applies=is_for_linux,
    ),
    # Family 8: hygiene
    Check(
        code="WHL801",
        slug="debug-information",
        title="native files are stripped",
        problem="A native file contains debug information.",
        reason="It can be most of the download.",
        fix="maturin build --release --strip; cibuildwheel: auditwheel repair --strip; linker flag -s",
        source='DWARF; maturin, "strip"',
        function=hygiene.debug_information,
        severity=Severity.WARNING,
        applies=is_native,
    ),
    Check(
        code="WHL802",
        slug="bytecode",
        title="no bytecode is packed",
        problem="The wheel has a __pycache__ directory.",
        reason="Only one version of Python can use it, and installers compile bytecode anyway.",
        fix="exclude **/__pycache__ in the configuration of the build backend",
        source="PEP 3147",
        function=hygiene.bytecode,
        severity=Severity.WARNING,
    ),
    Check(
        code="WHL803",
        slug="strays",
        title="top-level names are specific to the project",
        problem="The wheel installs a top-level module with a common name such as tests, docs or examples.",
        reason="It overwrites the module of that name from other projects.",
        fix=(
            "list the packages to include in the configuration of the build backend, or move the module into "
            "the package"
        ),
        source='packaging specification "Binary distribution format"; check-wheel-contents W005',
        function=hygiene.common_names,
        severity=Severity.WARNING,
    ),
    Check(
        code="WHL804",
        slug="standard-library",
        title="no module has the name of a standard library module",
        problem="A top-level module has the name of a standard library module.",
        reason="It can never be imported, or hides the standard library module.",
        fix="rename it, or move it into the package",
        source='Python language reference, "The import system"',
        function=hygiene.standard_library,
        severity=Severity.WARNING,
    ),
    Check(
        code="WHL805",
        slug="path-files",
        title="no code runs at every start",
        problem="The wheel installs a .pth or .start file.",
        reason="The interpreter reads it, and may run its code, at every start, even if the project is not used.",
        fix="remove the file, or document its purpose",
        source='Python library reference, "site"; PEP 829',
        function=hygiene.path_files,
        severity=Severity.WARNING,
    ),
    Check(
        code="WHL806",
        slug="type-hints",
        title="native modules have stubs",
        problem="A package with a native module has neither py.typed nor any stub file.",
        reason="Type checkers and editors know a native module only from its stub file.",
        fix="add module.pyi and py.typed to the package; maturin packs both from python-source",
        source="PEP 561",
        function=hygiene.type_hints,
        severity=Severity.WARNING,
        applies=has_modules,
    ),
    Check(
        code="WHL807",
        slug="size",
        title="the file is not too large",
        problem="The wheel is larger than the limit, by default 100 MiB.",
        reason="The package index refuses larger files unless the project has a higher limit.",
        fix="strip debug information and leave out files that are not needed at run time, "
        f"or set {value_line('max_size', '200MiB')}",
        source="limits of the package index for uploads",
        function=hygiene.file_size,
        severity=Severity.WARNING,
    ),
    # Family 9: the release
    Check(
        code="WHL901",
        slug="one-version",
        title="a release has one version of a project",
        problem="The release has wheels of several versions of one project.",
        reason="An old build is in the directory, and would be uploaded with the new one.",
        fix="empty dist/ before each build",
        source="the other wheels of the release",
        function=siblings.one_version,
    ),
    Check(
        code="WHL902",
        slug="one-wheel-for-a-tag",
        title="a release has one wheel for a tag",
        problem="Two wheels of one project and version are for the same tag.",
        reason="Which of them is installed depends on the installer.",
        fix="build each tag once; delete the input of a repair tool from the directory of its output",
        source="PEP 425; the other wheels of the release",
        function=siblings.same_tag,
    ),
    Check(
        code="WHL903",
        slug="overwritten",
        title="projects do not overwrite each other",
        problem="A wheel of another project in the release installs the same file.",
        reason="The project that is installed last overwrites the file, and removing one project breaks the other.",
        fix="keep the file in one of the projects; for a shared namespace remove its __init__.py (PEP 420)",
        source="PEP 376; the other wheels of the release",
        function=siblings.overwritten,
        severity=Severity.WARNING,
    ),
)

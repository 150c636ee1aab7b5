"""How to get the interpreters that this host lacks, for ``wheelcheck doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_wheelcheck.interpreters.architectures import host_architecture
from pytest_wheelcheck.interpreters.base import here
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.setting_lines import value_line

SYSTEMS = {
    "darwin": "macOS",
    "linux": "Linux (on Windows also in WSL), which can emulate other architectures",
    "win32": "Windows",
}


def fixes(platform: Platform, reasons: Sequence[str], *, any_found: bool) -> Iterator[str]:
    """Return how to get the missing interpreters of a platform."""
    host = here()
    if platform.system != host.system:
        if not any_found:
            yield f"run pytest-wheelcheck on {SYSTEMS[platform.system]}; on this host, such wheels get static checks only"
        return
    searched = "PATH and the directories of pyenv and uv are searched"
    if platform == host:
        yield f"install the interpreter; {searched}"
    elif not platform.is_linux:
        yield f"install the interpreter, if this machine can run it; {searched}"
    if not platform.is_linux or host_architecture() is None:
        return
    if any(reason.startswith("debian: ") for reason in reasons) and not any_found:
        line = value_line("apt_source", "deb [signed-by=FILE] URI SUITE main")
        yield f"name a package repository that has the architecture: {line}"
    if platform != host:
        yield f"pass --wheel-sysroot {platform.architecture}=DIR with a root file system, such as an unpacked image"

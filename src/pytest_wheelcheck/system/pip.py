"""The pip that this package runs."""

from __future__ import annotations

import sys
from pathlib import Path


def pip_command() -> list[str | Path]:
    """Return the argv of a pip: that of virtualenv, which runs from its wheel, else the installed one."""
    if wheel := embedded_pip():
        return [sys.executable, wheel / "pip"]
    return [sys.executable, "-m", "pip"]


def embedded_pip() -> Path | None:
    """Return the newest wheel of pip that virtualenv contains."""
    from packaging.version import Version
    from virtualenv.seed.wheels import embed

    directory = Path(embed.__file__).parent
    return max(directory.glob("pip-*.whl"), key=lambda path: Version(path.name.split("-")[1]), default=None)

"""Record a terminal session as ``docs/session.svg``: real commands on a small project, in a pseudo-terminal.

``python docs/record.py [FILE]`` needs rich, Linux or macOS, and no network. The picture has no paths and times of this machine.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
COLUMNS = 94

sys.path.insert(0, str(ROOT / "tests"))

#: A project whose wheel lacks a package that the source tree has.
FILES = {
    "pyproject.toml": '[project]\nname = "greet"\nversion = "1.0"\n',
    "greet/__init__.py": 'def hello(name):\n    from greet.words import HELLO\n\n    return f"{HELLO} {name}"\n',
    "greet/words/__init__.py": 'HELLO = "Hello"\n',
    "tests/test_greet.py": 'import greet\n\n\ndef test_hello():\n    assert greet.hello("you") == "Hello you"\n',
}
COMMANDS = ("python -m pytest -q tests", "pytest --no-header --tb=short --wheel dist tests")

#: What differs from machine to machine, and what the picture has.
_REPLACED = (
    # pytest's own line below warnings.
    (re.compile(r"\n*-- Docs: https://\S+"), ""),
    (re.compile(r"\x1b\[(?:\d*K|\?\d+[hl])"), ""),
    (re.compile(r"  \(\S*/python[\d.]* \([^)]*\)\)"), ""),
    (re.compile(r"(?:\.\./)+wheelcheck-\w+/0/env"), "wheelcheck-env"),
    (re.compile(r" in \d+\.\d+s"), ""),
)

#: Rich's own format loads a font from another host.
_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def make_project(directory: Path) -> None:
    """Write the project and its wheel."""
    from builders import build_wheel

    for name, content in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    build_wheel(directory / "dist", "greet", files={"greet/__init__.py": FILES["greet/__init__.py"]})


def run(command: str, directory: Path, options: Mapping[str, tuple[str, ...]]) -> str:
    """Run a command in a pseudo-terminal; return what it writes there.

    :param options: more arguments by program, which the picture does not show.
    """
    program, *arguments = shlex.split(command)
    argv = [sys.executable, *(() if program == "python" else ("-m", program)), *arguments, *options.get(program, ())]
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    hidden = ("PYTEST_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI", "GITHUB_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    process = subprocess.Popen(
        argv, cwd=directory, stdin=terminal, stdout=terminal, stderr=terminal, env={**env, "TERM": "xterm-256color"}
    )
    os.close(terminal)
    found = b""
    while True:
        try:
            data = os.read(controller, 65536)
        except OSError:  # Linux: no process has the other end
            data = b""
        if not data:
            break
        found += data
    os.close(controller)
    process.wait()
    return found.decode("utf-8", "replace")


def clean(text: str) -> str:
    """Return the text without what belongs to this machine, and without lines that were overwritten."""
    lines = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    text = "\n".join(lines)
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return text.strip("\n")


def picture(text: str) -> str:
    """Return a text with ANSI sequences as SVG."""
    import io

    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in text.split("\n"):
        console.print(Text.from_ansi(line), soft_wrap=True, highlight=False)
    svg = console.export_svg(title="pytest-wheelcheck", theme=MONOKAI, code_format=_FORMAT, unique_id="session")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def session() -> str:
    """Return the text of the session."""
    options = {
        "python": ("-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
        "pytest": ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", f"--wheel-python={sys.executable}"),
    }
    parts = []
    with tempfile.TemporaryDirectory(prefix="greet-") as temporary:
        directory = Path(temporary)
        make_project(directory)
        for command in COMMANDS:
            parts += [f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m", clean(run(command, directory, options)), ""]
    return "\n".join(parts).strip("\n")


def main() -> int:
    """Write the picture."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("session.svg")
    path.write_text(picture(session()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

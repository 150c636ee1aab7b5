"""Starts the agent on a board that has nothing of this package: what ssh runs there, and what it reads first."""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from pathlib import Path

from pytest_wheelcheck.backends.ssh import diagnosis, onboard
from pytest_wheelcheck.backends.ssh.onboard.protocol import PACKAGE

#: The agent's first line. Nothing may be printed before it.
MARK = b"wheelcheck agent\n"

#: The modules of :mod:`.onboard`, each after those that it imports.
_MODULES = ("protocol", "files", "programs", "survey", "agent")

#: Finds a Python on the board. A login shell runs it, which need not be a POSIX shell, so ``sh`` gets it as one argument.
#: One line without single quotes: csh takes no other.
_FIND_PYTHON = (
    "for python in python3 /usr/bin/python3 /usr/local/bin/python3 /usr/bin/python3.* /usr/local/bin/python3.* "
    '"$HOME"/.pyenv/versions/*/bin/python3 "$HOME"/.local/share/uv/python/*/bin/python3 '
    "/opt/python/*/bin/python3 /opt/*/bin/python3; do "
    'if "$python" -I -S -c "import sys, fcntl, zlib, json; sys.exit(sys.version_info < (3, 9))" 2>/dev/null </dev/null; '
    'then exec "$python" -I -S -B -c "import base64; exec(base64.b64decode(b\\"LOADER\\"))"; fi; done; '
    'echo "NO_PYTHON: $(uname -s -m)" >&2; exit 97'
)

#: Reads the modules and starts the agent. Standard input is read without a buffer, because the agent goes on with it.
_LOADER = """
import json, os, sys, types, zlib
def read(n):
    d = b""
    while len(d) < n:
        p = os.read(0, n - len(d))
        if not p: os._exit(1)
        d += p
    return d
os.write(1, b"MARK")
sources = json.loads(zlib.decompress(read(int(read(10)))))
package = sys.modules["PACKAGE"] = types.ModuleType("PACKAGE")
package.__path__ = []
for name, source in sources.items():
    if not name.startswith("__"):
        module = sys.modules["PACKAGE." + name] = types.ModuleType("PACKAGE." + name)
        module.__package__ = "PACKAGE"
        exec(compile(source, name, "exec"), module.__dict__)
        setattr(package, name, module)
package.agent.Agent(sources).serve()
"""


def command() -> str:
    """Return what ssh runs on the board."""
    loader = _LOADER.replace("MARK", MARK.decode("ascii").replace("\n", "\\n")).replace("PACKAGE", PACKAGE)
    encoded = base64.b64encode(loader.encode("ascii")).decode("ascii")
    script = _FIND_PYTHON.replace("LOADER", encoded).replace("NO_PYTHON", diagnosis.NO_PYTHON)
    return f"exec sh -c {shlex.quote(script)}"


def payload() -> bytes:
    """Return what the loader reads: a length of ten digits, and the modules, compressed."""
    directory = Path(onboard.__file__).parent
    sources = {
        name: (directory / f"{name}.py").read_text(encoding="utf-8") for name in (*_MODULES, "__init__", "__main__")
    }
    data = zlib.compress(json.dumps(sources).encode("ascii"), 9)
    return b"%10d" % len(data) + data

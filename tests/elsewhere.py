"""A backend for tests: native, but every program sees the project and the run at other paths than this host.

A program is started in a mount namespace of its own. There the project and the directory of the run are mounted below
another directory, and their paths on this host are empty. So nothing works if a path crosses the border untranslated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import provisioned

from pytest_wheelcheck.backends import registry
from pytest_wheelcheck.backends.base import Capabilities, Command, Environment, Runtime, Session
from pytest_wheelcheck.backends.local import LocalSession
from pytest_wheelcheck.backends.native import NativeBackend
from pytest_wheelcheck.model import Machine
from pytest_wheelcheck.settings import Settings


def require_mounts() -> None:
    """Skip a test, or fail it where that is required, on a host that cannot make mount namespaces.

    :raises BaseException: see :func:`provisioned.missing`.
    """
    argv = ["unshare", "--map-root-user", "--mount", "true"]
    if shutil.which("unshare") is None or subprocess.run(argv, check=False).returncode:
        raise provisioned.missing("sandbox", "this host allows no user namespaces")


#: Where the mount namespaces have the directories; on this host it stays empty.
ROOT = Path(os.environ.get("ELSEWHERE", "/nowhere"))

#: Arguments: pairs of a directory and where it is mounted, an empty argument, the working directory, the program.
_ENTER = """
set -e
while [ -n "$1" ]; do mount --bind "$1" "$2"; mount -t tmpfs none "$1"; shift 2; done
shift
cd "$1"
shift
exec "$@"
"""


@dataclass(frozen=True)
class Moved:
    """The path mapping.

    :param pairs: directories of this host and of the target.
    """

    pairs: tuple[tuple[str, str], ...]

    def to_target(self, path: Path | str) -> str:
        text = str(path)
        for here, there in self.pairs:
            if text == here or text.startswith(f"{here}/"):
                return there + text[len(here) :]
        return text

    def settings_to_target(self, value: Any) -> Any:
        if isinstance(value, str):
            option, equals, path = value.partition("=")
            return option + equals + self.to_target(path) if equals and path.startswith("/") else self.to_target(value)
        if isinstance(value, (list, tuple)):
            return [self.settings_to_target(each) for each in value]
        if isinstance(value, dict):
            return {name: self.settings_to_target(each) for name, each in value.items()}
        return value

    def node_id_to_target(self, node_id: str) -> str:
        return self.to_target(node_id)

    def message_from_target(self, message: Any) -> Any:
        if isinstance(message, str):
            return self.text_from_target(message)
        if isinstance(message, list):
            return [self.message_from_target(each) for each in message]
        if isinstance(message, dict):
            return {name: self.message_from_target(each) for name, each in message.items()}
        return message

    def text_from_target(self, text: str) -> str:
        for here, there in self.pairs:
            text = text.replace(there, here)
        return text


class ElsewhereSession(LocalSession):
    """Starts every program in a mount namespace."""

    def __init__(self, runtime: Runtime, machine: Machine, settings: Settings, directory: Path) -> None:
        super().__init__(runtime, machine, settings, directory)
        pairs = [(str(settings.root), str(ROOT / "project")), (str(directory.parent), str(ROOT / "run"))]
        for _, there in pairs:
            Path(there).mkdir(exist_ok=True)
        self._paths = self.moved = Moved(tuple(pairs))

    def command(
        self,
        argv: Sequence[str | Path],
        *,
        environment: Environment,
        cwd: Path,
        variables: Mapping[str, str],
        supervised: bool,
        temporary: Path | None = None,
    ) -> Command:
        plain = super().command(
            argv,
            environment=environment,
            cwd=cwd,
            variables=variables,
            supervised=supervised,
            temporary=temporary,
        )
        env = {
            name: os.pathsep.join(map(self.moved.to_target, value.split(os.pathsep)))
            for name, value in plain.env.items()
        }
        mounts = [path for pair in self.moved.pairs for path in pair]
        program = [self.moved.settings_to_target(str(argument)) for argument in plain.argv]
        enter = ["unshare", "--map-root-user", "--mount", "sh", "-c", _ENTER, "enter"]
        return Command(argv=(*enter, *mounts, "", self.moved.to_target(cwd), *program), env=env, cwd=Path("/"))


@dataclass(frozen=True, kw_only=True)
class ElsewhereBackend(NativeBackend):
    """Runs native interpreters with other paths."""

    name: str = "elsewhere"

    @property
    def machine(self) -> Machine:
        return Machine(name="elsewhere")

    @property
    def capabilities(self) -> Capabilities:
        # As on macOS: each import has an interpreter that is started for it.
        return Capabilities(fork=False)

    def open_session(self, runtime: Runtime, machine: Machine, settings: Settings, directory: Path) -> Session:
        return ElsewhereSession(runtime, machine, settings, directory)


def main() -> int:
    """Run pytest with this backend before all others: the one line of the registry."""
    import pytest

    registry.BACKENDS.insert(0, "elsewhere:ElsewhereBackend")
    return int(pytest.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())

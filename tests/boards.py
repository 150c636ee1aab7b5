"""Boards that are reached over ssh: real OpenSSH servers, each in a root file system of its own.

A board is a Debian root (:mod:`board_roots`) in namespaces of its own, entered without root privileges. It sees no file and no
process of this host, but its network. A board of another architecture is that architecture throughout: server, shell and Python
run through QEMU, which is registered with a binfmt_misc inside the board's user namespace (Linux 6.7 and later).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from board_proxy import Proxy
from board_roots import ID, USER, debian_root, ssh_program

from pytest_wheelcheck.backends import bubblewrap
from pytest_wheelcheck.backends.qemu import emulators
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture

#: Seconds for a server to listen.
_START = 60.0

#: The namespaces of a board die with the thread that started them. This one lives as long as the tests.
_STARTER = ThreadPoolExecutor(1, "boards")

_CONFIGURATION = f"""\
ListenAddress 127.0.0.1
HostKey /board/host_key
AuthorizedKeysFile /board/authorized_keys
AllowUsers {USER}
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PidFile none
PrintMotd no
PrintLastLog no
AcceptEnv LANG LC_*
LogLevel VERBOSE
MaxStartups 100
Subsystem sftp /usr/lib/openssh/sftp-server
"""

#: What is done in the board's outer namespaces, in which its user is root, before bubblewrap makes the inner ones.
_OUTER = """
set -e
[ -z "$HOME_OPTIONS" ] || mount -t tmpfs -o "$HOME_OPTIONS" board "$HOME_PLACE"
[ -z "$HOME_FLAGS" ] || mount --bind "$HOME_PLACE" "$HOME_PLACE"
[ -z "$HOME_FLAGS" ] || mount -o "remount,bind,$HOME_FLAGS" "$HOME_PLACE"
if [ -n "$BINFMT" ]; then
    mount -t binfmt_misc binfmt_misc "$BINFMT_PLACE"
    printf '%s' "$BINFMT" > "$BINFMT_PLACE/register"
fi
[ -z "$ADDRESS_SPACE" ] || ulimit -v "$ADDRESS_SPACE"
exec "$@"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process on a board.

    :param pid: on this host.
    :param command: its command line there.
    """

    pid: int
    command: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a board is like.

    :param architecture: as in platform tags.
    :param python: whether it has a Python.
    :param packages: further packages of Debian.
    :param suite: of Debian; that of the host by default.
    :param home_size: the bytes that its home, a file system of its own in memory, can hold; unlimited by default.
    :param tmp_size: the bytes that ``/tmp`` can hold.
    :param home_read_only: whether nothing can be written to its home.
    :param home_noexec: whether no program can be started from its home.
    :param memory: the bytes of memory of all its processes. Beyond, the kernel kills one of them (``board.memory_limit`` is
        ``cgroup``); where the tests may not make a cgroup, allocations fail in a process that takes as much (``ulimit``).
    :param clock: what its time of day is for programs that are started over ssh, as for ``faketime``: ``-10y``, or
        ``@2001-01-01 00:00:00``.
    :param sshd: further lines of ``sshd_config``.
    """

    architecture: str
    python: bool = True
    packages: tuple[str, ...] = ()
    suite: str = ""
    home_size: int | None = None
    tmp_size: int | None = None
    home_read_only: bool = False
    home_noexec: bool = False
    memory: int | None = None
    clock: str = ""
    sshd: tuple[str, ...] = ()


class Client:
    """The files of the OpenSSH client: configuration, key and known hosts.

    :param directory: for these files.

    Attributes: ``path_entry``, a directory with a script ``ssh`` that uses these files; ``environment`` has it first on ``PATH``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = make_key(directory / "id_ed25519")
        self.known_hosts = directory / "known_hosts"
        self.known_hosts.touch()
        self.config = directory / "config"
        self.config.write_text(
            "Host *\n"
            f"IdentityFile {self.key}\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {self.known_hosts}\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\n",
            encoding="utf-8",
        )
        self.path_entry = directory / "path"
        self.path_entry.mkdir()
        script = self.path_entry / "ssh"
        program = shlex.quote(ssh_program("ssh"))
        script.write_text(f'#!/bin/sh\nexec {program} -F {shlex.quote(str(self.config))} "$@"\n', encoding="utf-8")
        script.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.path_entry}{os.pathsep}{os.environ['PATH']}"}

    def add_host(self, name: str, board: Board, *lines: str) -> None:
        """Give a board a name in the configuration of ssh; several are separated by spaces."""
        with self.config.open("a", encoding="utf-8") as file:
            file.write(
                "\n".join([f"Host {name}", "HostName 127.0.0.1", f"Port {board.port}", f"User {USER}", *lines, ""])
            )

    def know(self, port: int, public_key: str) -> None:
        """Add, or replace, the host key of a port."""
        self.forget(port)
        with self.known_hosts.open("a", encoding="ascii") as file:
            file.write(f"[127.0.0.1]:{port} {public_key}\n")

    def forget(self, port: int) -> None:
        lines = self.known_hosts.read_text(encoding="ascii").splitlines(keepends=True)
        kept = (line for line in lines if not line.startswith(f"[127.0.0.1]:{port} "))
        self.known_hosts.write_text("".join(kept), encoding="ascii")


def make_key(path: Path) -> Path:
    """Make a pair of keys, in the place of an older one."""
    for old in (path, path.with_name(f"{path.name}.pub")):
        old.unlink(missing_ok=True)
    argv = [ssh_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "board", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return path


@dataclass
class _Machine:
    """The hardware of a board: what all its :class:`Board` values share."""

    kind: Kind
    name: str
    directory: Path
    client: Client
    port: int = 0
    root: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None
    init: int = 0
    listener: int = 0
    memory_limit: Literal["", "cgroup", "ulimit"] = ""
    cgroup: Path | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.root = debian_root(
            self.kind.architecture, python=self.kind.python, packages=self.kind.packages, suite=self.kind.suite
        )
        for name in ("home", "binfmt", "board"):
            (self.directory / name).mkdir(parents=True)
        self.files = self.directory / "board"
        self.log = self.directory / "sshd.log"
        self.log.touch()
        self.key = make_key(self.files / "host_key")
        shutil.copy(self.client.key.with_name("id_ed25519.pub"), self.files / "authorized_keys")
        (self.files / "environment").touch()
        if self.kind.memory is not None:
            self.cgroup = _make_cgroup(self.kind.memory)
            self.memory_limit = "cgroup" if self.cgroup else "ulimit"

    @property
    def public_key(self) -> str:
        return " ".join(self.key.with_name("host_key.pub").read_text(encoding="ascii").split()[:2])

    # --- start and stop ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        with self.lock:
            if self.process is not None:
                raise AssertionError(f"the board {self.name} is running")
            # Not a port that the kernel gives to clients, so that it is free again after a reboot.
            ports = [self.port] if self.port else random.sample(range(20000, 32000), 20)
            for port in ports:
                with contextlib.suppress(_PortTakenError):
                    _STARTER.submit(self._start, port).result()
                    self.port = port
                    self.client.know(port, self.public_key)
                    return
            raise AssertionError(f"no port is free for {self.name}: {ports}")

    def _configuration(self, port: int) -> str:
        lines = [*self.kind.sshd]
        if self.kind.clock:
            library = f"/usr/lib/{ARCHITECTURES[self.kind.architecture].multiarch}/faketime/libfaketime.so.1"
            # Only the time of day is wrong. The times of files are those that programs set, or else this host's.
            options = "FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1"
            lines.append(f'SetEnv LD_PRELOAD={library} "FAKETIME={self.kind.clock}" {options}')
        return f"{_CONFIGURATION}Port {port}\n" + "".join(f"{line}\n" for line in lines)

    def _argv(self, information: int) -> list[str]:
        home = ["--bind", str(self.directory / "home"), f"/home/{USER}"]
        if self.kind.home_read_only:
            home[0] = "--ro-bind"
        bwrap = [*bubblewrap.find(offline=True)]
        bwrap += ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        bwrap += ["--uid", str(ID), "--gid", str(ID), "--hostname", self.name, "--die-with-parent", "--new-session"]
        bwrap += ["--ro-bind", str(self.root), "/", "--ro-bind", str(self.files), "/board"]
        bwrap += ["--dev", "/dev", "--proc", "/proc", "--perms", "1777"]
        bwrap += [*(() if self.kind.tmp_size is None else ("--size", str(self.kind.tmp_size))), "--tmpfs", "/tmp"]
        bwrap += ["--perms", "1777", "--tmpfs", "/var/tmp", *home, "--chdir", "/", "--clearenv"]
        bwrap += ["--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "--info-fd", str(information)]
        return [*bwrap, "--", "/usr/sbin/sshd", "-D", "-e", "-f", "/board/sshd_config"]

    def _outer(self) -> dict[str, str]:
        kind = self.kind
        size = f"size={kind.home_size},mode=755" if kind.home_size is not None else ""
        limited = kind.memory is not None and self.cgroup is None
        return {
            "PATH": os.environ["PATH"],
            "HOME_PLACE": str(self.directory / "home"),
            "HOME_OPTIONS": size,
            "HOME_FLAGS": "noexec" if kind.home_noexec else "",
            "BINFMT_PLACE": str(self.directory / "binfmt"),
            "BINFMT": _binfmt(kind.architecture, self.root),
            "ADDRESS_SPACE": str((kind.memory or 0) // 1024) if limited else "",
        }

    def _start(self, port: int) -> None:
        (self.files / "sshd_config").write_text(self._configuration(port), encoding="utf-8")
        known = self.log.stat().st_size
        reader, writer = os.pipe()
        argv = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "slave", "sh", "-c", _OUTER, "sh"]
        argv += self._argv(writer)
        if self.cgroup is not None:
            argv = ["sh", "-c", f'echo $$ > {shlex.quote(str(self.cgroup))}/cgroup.procs && exec "$@"', "sh", *argv]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._outer(),
                pass_fds=[writer],
                start_new_session=True,
            )
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as file:
            information = file.read()
        self.process = process
        self.init = json.loads(information)["child-pid"] if information else 0
        end = time.monotonic() + _START
        while f"listening on 127.0.0.1 port {port}." not in (text := self._log_since(known)):
            if process.poll() is not None or time.monotonic() > end:
                self._stop()
                if "Address already in use" in text:
                    raise _PortTakenError
                raise RuntimeUnavailableError(f"the board {self.name} does not start", details=text)
            time.sleep(0.005)
        self.listener = _children(self.init)[0]

    def _log_since(self, position: int) -> str:
        return self.log.read_bytes()[position:].decode("utf-8", "replace")

    def stop(self) -> None:
        with self.lock:
            self._stop()

    def _stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        # The first process of a PID namespace is gone when all others are.
        first = _open_process(self.init) if self.init else None
        if first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(first, signal.SIGKILL)
            wait_until(lambda: _is_gone(self.init), f"{self.name} does not end")
            os.close(first)
        process.kill()
        process.wait()
        self.init = self.listener = 0

    def remove(self) -> None:
        self.stop()
        if self.cgroup is not None:
            wait_until(lambda: _removed(self.cgroup), f"{self.cgroup} cannot be removed")

    # --- processes ---------------------------------------------------------------------------------------------------

    def all_processes(self) -> Iterator[tuple[int, str]]:
        """Yield all processes in the board's PID namespace: their numbers on this host, and their short names."""
        if not self.init:
            return
        namespace = _namespace(self.init)
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and namespace and _namespace(int(path.name)) == namespace:
                try:
                    name = (path / "comm").read_text(encoding="utf-8", errors="replace").strip()
                    state = (path / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if state not in "ZX":
                    yield int(path.name), name

    def processes(self) -> list[Process]:
        found = []
        for pid, name in self.all_processes():
            if pid != self.init and not name.startswith("sshd"):
                with contextlib.suppress(OSError):
                    found.append(Process(pid=pid, command=self._command(pid)))
        return found

    def connections(self) -> list[int]:
        return [pid for pid, name in self.all_processes() if name.startswith("sshd") and pid != self.listener]

    def _command(self, pid: int) -> str:
        data = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        words = data.rstrip("\0").split("\0")
        if self.is_emulated and Path(words[0]).name.startswith("qemu-"):
            # The kernel inserts the emulator and the path of the program.
            del words[:2]
        # A program that is just being started has no command line yet.
        return shlex.join(words) if words[0] else "(starting)"

    @property
    def is_emulated(self) -> bool:
        host = host_architecture()
        return host is None or host.name != self.kind.architecture


class _PortTakenError(Exception):
    """Another program has the port."""


@dataclass(frozen=True)
class Board:
    """A board as its user reaches it.

    :param port: that of its server, or of a proxy before it.
    """

    machine: _Machine = field(repr=False)
    name: str
    port: int

    @property
    def kind(self) -> Kind:
        return self.machine.kind

    @property
    def host(self) -> str:
        """User and address, without the port."""
        return f"{USER}@127.0.0.1"

    @property
    def url(self) -> str:
        return f"ssh://{self.host}:{self.port}"

    @property
    def root(self) -> Path:
        """Its root file system as its processes see it, also what is only in memory; the board must be running."""
        assert self.machine.init, "the board is not running"
        return Path(f"/proc/{self.machine.init}/root")

    @property
    def home(self) -> Path:
        """The home directory of its user. It outlives a reboot, unless it has a size."""
        if self.kind.home_size is not None:
            return self.root / "home" / USER
        return self.machine.directory / "home"

    @property
    def python(self) -> str:
        """The version of its Python, as ``cp313``."""
        (program,) = (self.machine.root / "usr/bin").glob("python3.[0-9]*[0-9]")
        return f"cp{program.name.removeprefix('python').replace('.', '')}"

    @property
    def path_entry(self) -> Path:
        """A directory to put first on ``PATH``: it has an ``ssh`` that knows the board and has its key."""
        return self.machine.client.path_entry

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment with :attr:`path_entry` on ``PATH``."""
        return self.machine.client.environment

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self.machine.log.read_text(encoding="utf-8", errors="replace")

    @property
    def memory_limit(self) -> str:
        """How its memory is limited: ``cgroup``, ``ulimit`` or not at all."""
        return self.machine.memory_limit

    @property
    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed because memory was short."""
        if self.machine.cgroup is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(FileNotFoundError):
                text = (self.machine.cgroup / name).read_text(encoding="ascii")
                if match := re.search(r"^oom_kill (\d+)$", text, re.MULTILINE):
                    return int(match[1])
        return 0

    # --- what happens to it ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Turn it off: all its processes are killed at once."""
        self.machine.stop()

    def start(self) -> None:
        """Turn it on again, on the same port."""
        self.machine.start()

    def reboot(self, seconds: float = 0.0) -> None:
        """Turn it off, and on again after some time."""
        self.stop()
        time.sleep(seconds)
        self.start()

    def kill_connections(self) -> None:
        """Kill the server's processes of all connections. What was started through them lives on."""
        for pid in self.machine.connections():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def through(self, proxy: Proxy) -> Board:
        """Return the same board as it is reached through a proxy."""
        self.machine.client.know(proxy.port, self.machine.public_key)
        return replace(self, port=proxy.port)

    def forget_host_key(self) -> None:
        """Make it a host that its user has never connected to."""
        self.machine.client.forget(self.port)

    def change_host_key(self) -> None:
        """Give it another host key than its user knows. It must be running, and reboots."""
        known = self.machine.public_key
        self.stop()
        make_key(self.machine.key)
        self.start()
        self.machine.client.know(self.machine.port, known)

    def refuse_key(self) -> None:
        """Let it refuse its user's key."""
        (self.machine.files / "authorized_keys").write_text("", encoding="ascii")

    # --- what tests ask it -------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """List the processes that run there, but for the server's own."""
        return self.machine.processes()

    @property
    def is_connected(self) -> bool:
        """Whether its server has a connection."""
        return bool(self.machine.connections())

    def wait_until_idle(self, seconds: float = 10.0) -> None:
        """Wait until it has no connection, and :meth:`processes` is empty."""
        wait_until(
            lambda: not self.is_connected and not self.processes(),
            lambda: f"on {self.name}: {'a connection, ' if self.is_connected else ''}processes: {self.processes()}",
            seconds,
        )

    def ssh_argv(self, *options: str) -> list[str]:
        """Return the command line of the client, without a command."""
        return [str(self.path_entry / "ssh"), "-o", "BatchMode=yes", *options, "-p", str(self.port), self.host]

    def ssh(
        self, command: str, *options: str, stdin: str | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, without a check of its exit status."""
        argv = [*self.ssh_argv(*options), "--", command]
        return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout, input=stdin or "")


class Boards:
    """Makes the boards of one test.

    :param directory: for their files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._machines: list[_Machine] = []
        self._proxies: list[Proxy] = []
        (directory / "client").mkdir(parents=True)
        self.client = Client(directory / "client")

    @property
    def path_entry(self) -> Path:
        """A directory to put first on ``PATH``: it has an ``ssh`` that knows all boards and has their key."""
        return self.client.path_entry

    def __call__(self, kind: Kind, *, name: str = "") -> Board:
        """Make a board, and start it.

        :raises RuntimeUnavailableError: this host cannot make it.
        """
        name = name or f"board{len(self._machines) + 1}"
        bubblewrap.find()
        machine = _Machine(kind, name, self._directory / name, self.client)
        self._machines.append(machine)
        machine.start()
        return Board(machine, name, machine.port)

    def proxy(self, board: Board, *, rate: float | None = None, delay: float = 0.0) -> Proxy:
        """Make a proxy before a board; pass it to :meth:`Board.through`."""
        proxy = Proxy(board.machine.port, rate=rate, delay=delay)
        self._proxies.append(proxy)
        return proxy

    def close(self) -> None:
        """End and remove everything."""
        for proxy in self._proxies:
            proxy.close()
        for machine in self._machines:
            machine.remove()


# --- the system ------------------------------------------------------------------------------------------------------


def wait_until(condition: Callable[[], object], failure: str | Callable[[], str], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, failure if isinstance(failure, str) else failure()
        time.sleep(0.005)


def native() -> str:
    """Return the architecture of this host.

    :raises RuntimeUnavailableError: it has none that boards can have.
    """
    host = host_architecture()
    if host is None:
        raise RuntimeUnavailableError("boards are made on Linux")
    return host.name


@functools.cache
def _binfmt(architecture: str, root: Path) -> str:
    """Return the line that registers an emulator for the programs in a root; an empty string if they need none.

    Source: the kernel's ``Documentation/admin-guide/binfmt-misc.rst``. F: the emulator is opened now, since the board does not
    have it. P: the program keeps its name; QEMU knows that from a flag of the kernel's.
    """
    if architecture == native():
        return ""
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    if release < (6, 7):
        raise RuntimeUnavailableError(
            f"boards of {architecture} need Linux 6.7 or later, whose user namespaces have a binfmt_misc of their own"
        )
    emulator = emulators.find(ARCHITECTURES[architecture])
    magic = (root / "usr/bin/dash").read_bytes()[:20]
    # The operating system, the padding and the type (program or library) do not matter.
    mask = (
        b"\xff" * 7 + b"\0" * 9 + b"\xfe\xff\xff\xff"
        if magic[5] == 1
        else b"\xff" * 7 + b"\0" * 9 + b"\xff\xfe\xff\xff"
    )
    escaped = ["".join(f"\\x{byte:02x}" for byte in data) for data in (magic, mask)]
    return f":board:M::{escaped[0]}:{escaped[1]}:{emulator.path}:PF"


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _open_process(pid: int) -> int | None:
    try:
        return int(os.pidfd_open(pid))
    except ProcessLookupError:
        return None


def _is_gone(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


def _removed(cgroup: Path | None) -> bool:
    assert cgroup is not None
    try:
        cgroup.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _make_cgroup(limit: int) -> Path | None:
    """Make a cgroup with a limit of memory; ``None`` if that is not allowed here."""
    for parent, names in _cgroups():
        for old in parent.glob("board-*-*"):
            # Those of runs that were killed. One that is in use cannot be removed.
            if not Path("/proc", old.name.split("-")[1]).exists():
                with contextlib.suppress(OSError):
                    old.rmdir()
        path = parent / f"board-{os.getpid()}-{time.monotonic_ns()}"
        try:
            path.mkdir()
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    (path / name).write_text(str(0 if "swap" in name else limit), encoding="ascii")
        except OSError:
            with contextlib.suppress(OSError):
                path.rmdir()
            continue
        if (path / names[0]).exists():
            return path
        path.rmdir()
    return None


def _cgroups() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield directories that may get a cgroup, and the names of its files for limits (``cgroups(7)``)."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        own[controllers] = path
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        words, _, filesystem = line.partition(" - ")
        mount, (kind, _, options) = words.split()[4], filesystem.split()[:3]
        if kind == "cgroup" and "memory" in options.split(","):
            path = next((path for names, path in own.items() if "memory" in names.split(",")), "/")
            yield Path(mount, path.lstrip("/")), ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if kind == "cgroup2":
            place = Path(mount, own.get("", "/").lstrip("/"))
            for parent in (place, place.parent):
                with contextlib.suppress(OSError):
                    if "memory" in (parent / "cgroup.subtree_control").read_text(encoding="ascii").split():
                        yield parent, ("memory.max", "memory.swap.max")

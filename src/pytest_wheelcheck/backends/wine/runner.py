"""Starts one Windows program under Wine, and leaves nothing behind. Run as a script: ``python -I -S runner.py``.

Every start is a session of its own: it has a new copy of the pristine prefix and therefore a Wine server of its own. The
script is a subreaper (prctl(2)), so the programs, Wine's services and the server stay below it in the process tree, and
it ends them all. Two sessions share nothing, and no session outlives the process that started it.

With ``--hold`` as the first argument, the script begins a session for several programs that run one after the other; the
session lasts until standard input is closed. The programs find it through the variable :data:`SESSION`. Each is still
started by a script of its own, which ends everything that the program started.

The script also translates the paths in the arguments and in a few variables, by the drives of the prefix. In a held session
only the directories that its programs need have drives; a single program has the root directory as ``Z:``.

Arguments: the file that describes Wine (JSON: ``wine``, ``prefix``, ``libraries``, ``fonts``, ``path``, ``absent``),
``R:=DIRECTORY`` of the interpreters, the path by which the launcher was called, the program, its arguments. After ``--hold``: the
same file, the directory in which the prefix is made, the directory for temporary files, and ``D:=DIRECTORY`` for each drive.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

#: Environment variables whose value is a path and that are meant for the program.
PATH_VARIABLES = ("VIRTUAL_ENV", "WHEELCHECK_GUARD")

#: Prefixes of environment variables that are not passed on: those of the desktop, and those of the user's own Wine.
DROPPED_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_", "DBUS_", "WINE")

#: Parts of Wine that are turned off: menu entries, and the offers to install .NET and a browser (``WINEDLLOVERRIDES``).
DISABLED_PARTS = "winemenubuilder.exe=d;mscoree=d;mshtml=d"

#: Microsoft's C library is used, if the prefix has it: "native" in Wine's terms. Otherwise Wine's own is ("builtin").
PREFERRED_LIBRARIES = "ucrtbase=n,b"

#: Environment variable with the prefix of a held session.
SESSION = "WHEELCHECK_WINE_SESSION"

#: Environment variable that has Wine write why programs and libraries fail. A caller who sets it knows these messages
#: (:mod:`.diagnosis`); for all others they would be mixed with the output of the program.
DIAGNOSE = "WHEELCHECK_WINE_DIAGNOSE"

#: Wine's debug channels (``WINEDEBUG``) without and with that variable: unhandled exceptions, stack overflows, and
#: libraries that are not found. What Wine writes outside of these channels cannot be turned off.
SILENT, DIAGNOSTIC = "-all", "-all,err+virtual,err+seh,err+module"

#: Begins the line on standard error that names the processes which the program left running.
LEFT_RUNNING = "wheelcheck wine left running: "

#: Seconds between two checks whether the process that started this one is still there.
POLL_INTERVAL = 0.5

#: A file in the prefix of a session that has not ended. Wine makes a prefix again if it was removed, but not this file.
HELD = "held"

#: The option of prctl(2) that makes orphans below a process its children (PR_SET_CHILD_SUBREAPER).
SUBREAPER = 36


def to_windows_path(path: str, drives: Iterable[tuple[str, str]]) -> str:
    """Return an absolute path as Windows programs name it.

    :param drives: letters with a colon, each with its directory. The deepest directory with the path is used;
        without any, the path is one that Wine alone knows, below ``unix``.
    """
    letter, rest = "\\\\?\\unix", path
    longest = 0
    for name, directory in drives:
        for base in {directory, os.path.realpath(directory)}:
            start = base.rstrip("/") + "/"
            if (path + "/").startswith(start) and len(start) > longest:
                letter, rest, longest = name, "/" + path[len(start) :], len(start)
    return letter + rest.replace("/", "\\")


def drives_of(prefix: str) -> list[tuple[str, str]]:
    """List the drives of a prefix, except ``C:``."""
    devices = os.path.join(prefix, "dosdevices")
    names = os.listdir(devices) if os.path.isdir(devices) else []
    drives = [(name.upper(), os.readlink(os.path.join(devices, name))) for name in names]
    return [(name, directory) for name, directory in drives if len(name) == 2 and directory.startswith("/")]


def variables(wine: dict[str, Any], prefix: str, program: str) -> dict[str, str]:
    """Return the environment variables of a program under Wine.

    :param wine: the description of Wine.
    :param program: its path; empty for a program of Wine itself.
    """
    dropped = (*DROPPED_VARIABLES, SESSION, DIAGNOSE)
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    drives = drives_of(prefix)
    for name in PATH_VARIABLES:
        if env.get(name, "").startswith("/"):
            env[name] = to_windows_path(env[name], drives)
    env.update(
        WINEPREFIX=prefix,
        WINEDEBUG=DIAGNOSTIC if os.environ.get(DIAGNOSE) else SILENT,
        # Wine's own versions of what a fresh Windows lacks are never used.
        WINEDLLOVERRIDES=";".join([DISABLED_PARTS, PREFERRED_LIBRARIES, *(f"{name}=n" for name in wine["absent"])]),
        HOME=prefix,  # Wine links its directories into the prefix.
        # File names are UTF-8, and the language is English. In the C locale, other characters would be lost.
        LC_ALL="C.UTF-8",
    )
    if program:
        env["WINEPATH"] = to_windows_path(os.path.dirname(program), drives)
    # Windows programs use TEMP, see copy_prefix(); Debian's Wine 10 crashes if this is set.
    env.pop("TMPDIR", None)
    for name, part in (("LD_LIBRARY_PATH", "libraries"), ("FONTCONFIG_FILE", "fonts"), ("WINEDLLPATH", "path")):
        if wine.get(part):
            env[name] = wine[part]
    return env


def main(argv: list[str]) -> int:
    """Run a program; return its exit status as a shell reports it."""
    if argv[0] == "--hold":
        return hold(argv[1], argv[2], argv[3], argv[4:])
    description, interpreters, name, program = argv[:4]
    with open(description, encoding="utf-8") as file:
        wine = json.load(file)
    environment = os.path.dirname(os.path.dirname(os.path.abspath(name)))
    parent_directory = environment if os.path.isfile(os.path.join(environment, "pyvenv.cfg")) else None
    parent = os.getppid()
    session = os.environ.get(SESSION, "")
    prefix = session or tempfile.mkdtemp(prefix="wheelcheck-wine-", dir=parent_directory)
    try:
        if not session:
            copy_prefix(wine["prefix"], prefix, os.environ.get("TMPDIR", ""), [interpreters, "Z:=/"])
        drives = drives_of(prefix)
        command = [
            to_windows_path(program, drives),
            *(
                to_windows_path(argument, drives) if argument.startswith("/") and os.path.exists(argument) else argument
                for argument in argv[4:]
            ),
        ]
        prctl(SUBREAPER, 1)
        watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        pid = os.fork()
        if pid == 0:
            exec_wine(wine["wine"], command, variables(wine, prefix, program), watched)
        # Only the program has the channel, so that the other end notices when the program closes it.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        status = wait_for_program(pid, parent, watched, command, session)
        end_remaining(prefix, command)
    finally:
        if not session:
            remove_socket_directory(prefix)
            shutil.rmtree(prefix, ignore_errors=True)
    if os.WIFSIGNALED(status):
        # Not by the same signal: SIGKILL would mean that this process was killed, which has ended everything.
        return 128 + os.WTERMSIG(status)
    return os.waitstatus_to_exitcode(status)


def hold(description: str, directory: str, temporary: str, drives: Iterable[str]) -> int:
    """Begin a session, write its prefix in a line to standard output, and end it when standard input is closed.

    :param directory: where the prefix is made.
    :param temporary: the programs' directory for temporary files.
    :param drives: ``D:=DIRECTORY`` for each drive.
    """
    with open(description, encoding="utf-8") as file:
        wine = json.load(file)
    parent = os.getppid()
    prefix = tempfile.mkdtemp(prefix="wheelcheck-wine-", dir=directory)
    try:
        copy_prefix(wine["prefix"], prefix, temporary, drives)
        os.close(os.open(os.path.join(prefix, HELD), os.O_CREAT))
        prctl(SUBREAPER, 1)
        watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        child_stdin, idle = os.pipe()
        output, child_stdout = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(child_stdin, 0)
            os.dup2(child_stdout, 1)
            # It waits for input that never comes. While it runs, the server stays.
            command = ["C:\\windows\\system32\\cmd.exe", "/q", "/k", "echo", "ready"]
            exec_wine(wine["wine"], command, variables(wine, prefix, ""), watched)
        os.close(child_stdin)
        os.close(child_stdout)
        if os.read(output, 1):
            os.write(1, os.fsencode(prefix) + b"\n")
            wait_until_unused(pid, output, parent, watched)
        os.close(idle)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(prefix, HELD))
        end_remaining(prefix)
    finally:
        remove_socket_directory(prefix)
        shutil.rmtree(prefix, ignore_errors=True)
    return 0


def is_held(session: str) -> bool:
    """Return whether a session has not ended."""
    return os.path.exists(os.path.join(session, HELD))


def wait_until_unused(pid: int, output: int, parent: int, watched: set[signal.Signals]) -> None:
    """Wait until the first program of a held session has ended, or nothing needs the session anymore.

    :param output: file descriptor of the first program's standard output.
    """
    import select

    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(output, select.POLLIN | select.POLLHUP)
    while os.getppid() == parent:
        for fd, event in poll.poll(POLL_INTERVAL * 1000):
            if fd == 0:
                return
            if not os.read(fd, 4096) or event & select.POLLERR:
                return
        received = signal.sigtimedwait(watched, 0)
        if received is not None and received.si_signo != signal.SIGCHLD:
            return
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def copy_prefix(pristine: str, prefix: str, temporary: str, drives: Iterable[str]) -> None:
    """Fill a prefix: the registry and the user's directories are copied, the files of Windows are linked.

    :param temporary: the directory for temporary files; empty for that of the prefix.
    :param drives: ``D:=DIRECTORY`` for each drive other than ``C:``.
    """
    for name in os.listdir(pristine):
        source, target = os.path.join(pristine, name), os.path.join(prefix, name)
        if not os.path.isdir(source):
            shutil.copyfile(source, target)
        elif name == "dosdevices":
            os.mkdir(target)
            os.symlink("../drive_c", os.path.join(target, "c:"))
            for drive in drives:
                letter, _, directory = drive.partition("=")
                os.symlink(directory, os.path.join(target, letter.lower()))
        else:
            os.mkdir(target)
            for inner in os.listdir(source):
                if inner == "users":
                    shutil.copytree(os.path.join(source, inner), os.path.join(target, inner), symlinks=True)
                elif inner == "windows":
                    link_entries(os.path.join(source, inner), os.path.join(target, inner))
                else:
                    os.symlink(os.path.join(source, inner), os.path.join(target, inner))
    if temporary:
        text = to_windows_path(temporary, drives_of(prefix)).replace("\\", "\\\\")
        with open(os.path.join(prefix, "user.reg"), "a", encoding="utf-8") as file:
            file.write(f'\n[Environment]\n"TEMP"="{text}"\n"TMP"="{text}"\n')


def link_entries(source: str, target: str) -> None:
    """Make a directory with links to everything in another one, except ``temp``."""
    os.mkdir(target)
    for name in os.listdir(source):
        if name.lower() == "temp":
            os.mkdir(os.path.join(target, name))
        else:
            os.symlink(os.path.join(source, name), os.path.join(target, name))


def exec_wine(wine: str, command: list[str], env: dict[str, str], watched: set[signal.Signals]) -> NoReturn:
    """Replace the forked child with Wine."""
    try:
        os.setsid()
        prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        os.execve(wine, [wine, *command], env)
    except OSError as error:
        os.write(2, f"{wine} cannot be started: {error}\n".encode("utf-8", "backslashreplace"))
    os._exit(127)


def wait_for_program(pid: int, parent: int, watched: set[signal.Signals], command: list[str], session: str) -> int:
    """Wait for the end of the program; end it if a signal asks for that or the process that started this one is gone.

    :param parent: the process that started this one. It may have been killed before this process could ask for it.
    :param command: the program and its arguments.
    :param session: the prefix of the session, which ends with the process that started both; or empty.
    :returns: its status, as of waitpid(2).
    """
    while True:
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == pid:
                return status
            if ended == 0:
                break
        received = signal.sigtimedwait(watched, POLL_INTERVAL)
        asked = received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        if asked or os.getppid() != parent or (session and not is_held(session)):
            os.kill(pid, signal.SIGKILL)
            kill_32_bit(command)


def kill_32_bit(command: list[str]) -> None:
    """End the program if it is a 32-bit one: Wine starts these from a process of its own, which has been killed."""
    own, end = shown(command), time.monotonic() + 1.0
    while time.monotonic() < end and (pids := [pid for pid, line in descendants().items() if line == own]):
        kill(pids)
        time.sleep(0.005)


def kill(pids: Iterable[int]) -> None:
    """Kill processes that may have ended."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def shown(command: Iterable[str]) -> str:
    """Return a command line as in :func:`descendants`."""
    return " ".join(" ".join(command).split())[:200]


def end_remaining(prefix: str, command: Iterable[str] = ()) -> None:
    """End all remaining processes, and name those that are not parts of Wine on standard error.

    :param command: the program that ended. A 32-bit one may outlive the process that Wine started it from.
    """
    own, reported, pause = shown(command), False, 0.005
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        remaining = descendants()
        left = [line for line in remaining.values() if line not in ("", own) and not is_part_of_wine(line, prefix)]
        if left and not reported:
            reported = True
            os.write(2, f"\n{LEFT_RUNNING}{len(left)}: {'; '.join(left[:5])}\n".encode("utf-8", "backslashreplace"))
        kill(remaining)
        # Reading all of /proc is most of the work here.
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def is_part_of_wine(line: str, prefix: str) -> bool:
    """Return whether a command line is that of a part of Wine."""
    windows = ("c:\\windows\\system32\\", "c:\\windows\\syswow64\\")
    return line.lower().startswith(windows) or "wineserver" in line or prefix in line


def descendants() -> dict[int, str]:
    """Return the living processes below this one, with their command lines."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    parents[int(name)] = int(parent)
    found: dict[int, str] = {}
    level = {os.getpid()}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level and pid not in found}
        for pid in level:
            found[pid] = ""
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read(500).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "backslashreplace")
                found[pid] = " ".join(line.split())[:200]
    return found


def remove_socket_directory(prefix: str) -> None:
    """Remove the directory in which the server of a prefix had its socket.

    Wine derives its name from the prefix (``server/request.c``). Debian's Wine chooses it at random and writes it into the
    prefix.
    """
    directories = []
    with contextlib.suppress(OSError):
        status = os.stat(prefix)
        # Its parent directory stays: another session may be about to use it.
        directories.append(f"/tmp/.wine-{os.getuid()}/server-{status.st_dev:x}-{status.st_ino:x}")  # noqa: S108
    with contextlib.suppress(OSError, ValueError), open(os.path.join(prefix, "wineserver"), encoding="ascii") as file:
        name = file.read().strip()
        if name.startswith("wine-") and "/" not in name:
            directories.append(f"/tmp/{name}")  # noqa: S108
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def prctl(option: int, value: int) -> None:
    """Change a property of this process (prctl(2))."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

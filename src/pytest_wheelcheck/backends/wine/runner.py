"""Starts one Windows program under Wine, and leaves nothing behind. Runs by itself: ``python -I -S wine_session.py``.

Every start is a session of its own, with a fresh copy of the pristine prefix, so a server of Wine's own. What it starts
is below it in the tree of processes (a subreaper, prctl(2)), and is ended with it: the programs, Wine's services, the
server. So two sessions never meet, and none outlives the one who asked for it.

With ``--hold`` as the first argument a session is begun for programs that will be started in it one after the other, and
lasts until standard input is closed. They find it through the variable :data:`HELD`. What one of them starts is still
below it alone, and ended with it.

This is also the edge at which a command line and a few variables change from the paths of this system to those of
Windows. What lies on which drive is said by the prefix. Where a session is held those folders alone have drives that its
programs have to do with; a single program finds the root folder as ``Z:``.

Arguments: the file that describes Wine (JSON: ``wine``, ``prefix``, ``libraries``, ``path``), ``R:=FOLDER`` for the
interpreters, the path by which the launcher was called, the program, its arguments. After ``--hold``: that file, the
folder that takes the prefix, the one for temporary files, and ``D:=FOLDER`` for each drive.
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
    from typing import Any

#: Variables that name a file or folder and are meant for the program.
PATHS = ("VIRTUAL_ENV", "WHEELCHECK_GUARD")

#: Variables of a desktop that a test has no business with, and those of another Wine.
DROPPED = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_", "DBUS_", "WINE")

#: Nothing is written into menus; no .NET and no browser is offered for installation.
OVERRIDES = "winemenubuilder.exe=d;mscoree=d;mshtml=d"

#: Names the prefix of a session that somebody holds.
HELD = "WHEELCHECK_WINE_SESSION"

#: Begins a line on standard error that names what the program left running.
LEFT = "wheelcheck wine left running: "

#: Seconds between two looks at whether whoever started this session is still there.
LOOK = 0.5


def to_windows(path: str, drives: Iterable[tuple[str, str]]) -> str:
    """Say an absolute path as Windows does.

    :param drives: letters, with the colon, and the folders that they stand for; the deepest that holds the path counts.
    """
    letter, rest = "\\\\?\\unix", path
    longest = 0
    for name, folder in drives:
        for base in {folder, os.path.realpath(folder)}:
            begin = base.rstrip("/") + "/"
            if (path + "/").startswith(begin) and len(begin) > longest:
                letter, rest, longest = name, "/" + path[len(begin) :], len(begin)
    return letter + rest.replace("/", "\\")


def drives_of(prefix: str) -> list[tuple[str, str]]:
    """List the drives of a prefix, but for ``C:``."""
    devices = os.path.join(prefix, "dosdevices")
    names = os.listdir(devices) if os.path.isdir(devices) else []
    found = [(name.upper(), os.readlink(os.path.join(devices, name))) for name in names]
    return [(name, folder) for name, folder in found if len(name) == 2 and folder.startswith("/")]


def variables(wine: dict[str, Any], prefix: str, program: str) -> dict[str, str]:
    """Make the variables of a program under Wine; *program* is empty for one of Wine's own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith((*DROPPED, HELD))}
    drives = drives_of(prefix)
    for name in PATHS:
        if env.get(name, "").startswith("/"):
            env[name] = to_windows(env[name], drives)
    env.update(
        WINEPREFIX=prefix,
        # Only of what dies: a stack that overflowed, an exception that nobody may handle.
        WINEDEBUG="-all,err+virtual,err+seh,err+module",
        WINEDLLOVERRIDES=OVERRIDES,
        # Wine would link folders of the user's home.
        HOME=prefix,
        # File names are UTF-8, the language is English; else the C locale would garble them.
        LC_ALL="C.UTF-8",
    )
    if program:
        env["WINEPATH"] = to_windows(os.path.dirname(program), drives)
    # Windows programs look at TEMP, see :func:`copy_prefix`; Debian's Wine 10 dies where this is set.
    env.pop("TMPDIR", None)
    if wine["libraries"]:
        env["LD_LIBRARY_PATH"] = wine["libraries"]
    if wine.get("path"):
        env["WINEDLLPATH"] = wine["path"]
    return env


def main(argv: list[str]) -> int:
    """Run a program; return its exit status as a shell tells it."""
    if argv[0] == "--hold":
        return hold(argv[1], argv[2], argv[3], argv[4:])
    description, runtimes, name, program = argv[:4]
    with open(description, encoding="utf-8") as file:
        wine = json.load(file)
    environment = os.path.dirname(os.path.dirname(os.path.abspath(name)))
    inside = environment if os.path.isfile(os.path.join(environment, "pyvenv.cfg")) else None
    parent = os.getppid()
    held = os.environ.get(HELD, "")
    prefix = held or tempfile.mkdtemp(prefix="wheelcheck-wine-", dir=inside)
    try:
        if not held:
            copy_prefix(wine["prefix"], prefix, os.environ.get("TMPDIR", ""), [runtimes, "Z:=/"])
        drives = drives_of(prefix)
        words = [
            to_windows(word, drives) if word.startswith("/") and os.path.exists(word) else word for word in argv[4:]
        ]
        become_subreaper()
        watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        pid = os.fork()
        if pid == 0:
            start(wine["wine"], [to_windows(program, drives), *words], variables(wine, prefix, program), watched)
        # The channel is the program's own: where it closes that, the other end is to notice.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        status = wait(pid, parent, watched, [to_windows(program, drives), *words])
        sweep(prefix)
    finally:
        if not held:
            remove(prefix)
    if os.WIFSIGNALED(status):
        # Not by the same signal: SIGKILL would mean that this process, which has ended everything, was itself killed.
        return 128 + os.WTERMSIG(status)
    return os.waitstatus_to_exitcode(status)


def hold(description: str, folder: str, temporary: str, drives: Iterable[str]) -> int:
    """Begin a session, tell its prefix in a line on standard output, and end it when standard input is closed.

    :param folder: takes the prefix.
    :param temporary: the folder for temporary files of the programs.
    :param drives: ``D:=FOLDER`` for each.
    """
    with open(description, encoding="utf-8") as file:
        wine = json.load(file)
    parent = os.getppid()
    prefix = tempfile.mkdtemp(prefix="wheelcheck-wine-", dir=folder)
    try:
        copy_prefix(wine["prefix"], prefix, temporary, drives)
        become_subreaper()
        watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        given, kept = os.pipe()
        told, telling = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(given, 0)
            os.dup2(telling, 1)
            # It waits for input that does not come. While it is there, the server stays.
            words = ["C:\\windows\\system32\\cmd.exe", "/q", "/k", "echo", "ready"]
            start(wine["wine"], words, variables(wine, prefix, ""), watched)
        os.close(given)
        os.close(telling)
        if os.read(told, 1):
            os.write(1, os.fsencode(prefix) + b"\n")
            wait_for_end(pid, told, parent, watched)
        os.close(kept)
        sweep(prefix)
    finally:
        remove(prefix)
    return 0


def wait_for_end(pid: int, told: int, parent: int, watched: set[signal.Signals]) -> None:
    """Wait until the first program of a held session has ended, or nobody needs it any more."""
    import select

    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(told, select.POLLIN | select.POLLHUP)
    while os.getppid() == parent:
        for fd, event in poll.poll(LOOK * 1000):
            if fd == 0:
                return
            if not os.read(fd, 4096) or event & select.POLLERR:
                return
        found = signal.sigtimedwait(watched, 0)
        if found is not None and found.si_signo != signal.SIGCHLD:
            return
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def copy_prefix(pristine: str, prefix: str, temporary: str, drives: Iterable[str]) -> None:
    """Make a prefix: the registry and the user's folders are its own, what Windows is made of is linked.

    :param temporary: the folder for temporary files; empty for that of the prefix.
    :param drives: ``D:=FOLDER`` for each, beside ``C:``.
    """
    for name in os.listdir(pristine):
        source, target = os.path.join(pristine, name), os.path.join(prefix, name)
        if not os.path.isdir(source):
            shutil.copyfile(source, target)
        elif name == "dosdevices":
            os.mkdir(target)
            os.symlink("../drive_c", os.path.join(target, "c:"))
            for word in drives:
                letter, _, folder = word.partition("=")
                os.symlink(folder, os.path.join(target, letter.lower()))
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
        text = to_windows(temporary, drives_of(prefix)).replace("\\", "\\\\")
        with open(os.path.join(prefix, "user.reg"), "a", encoding="utf-8") as file:
            file.write('\n[Environment]\n"TEMP"="%s"\n"TMP"="%s"\n' % (text, text))


def link_entries(source: str, target: str) -> None:
    """Link everything in a folder but for ``temp``."""
    os.mkdir(target)
    for name in os.listdir(source):
        if name.lower() == "temp":
            os.mkdir(os.path.join(target, name))
        else:
            os.symlink(os.path.join(source, name), os.path.join(target, name))


def start(wine: str, words: list[str], env: dict[str, str], watched: set[signal.Signals]) -> None:
    """Become Wine, in the child."""
    try:
        os.setsid()
        prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        os.execve(wine, [wine, *words], env)
    except OSError as error:
        os.write(2, ("%s cannot be started: %s\n" % (wine, error)).encode("utf-8", "backslashreplace"))
    os._exit(127)


def wait(pid: int, parent: int, watched: set[signal.Signals], words: list[str]) -> int:
    """Wait for the end of the program, and bring it about where it is asked for or nobody is left to ask.

    :param words: the program and its arguments.
    """
    while True:
        while True:
            done, status = os.waitpid(-1, os.WNOHANG)
            if done == pid:
                return status
            if done == 0:
                break
        found = signal.sigtimedwait(watched, LOOK)
        asked = found is not None and found.si_signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        if asked or os.getppid() != parent:
            os.kill(pid, signal.SIGKILL)
            end_started(words)


def end_started(words: list[str]) -> None:
    """End the program where it is a 32-bit one: these are started by a program of Wine's own, which has been ended."""
    line = " ".join(" ".join(words).split())[:200]
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        found = [pid for pid, said in descendants().items() if said == line]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def sweep(prefix: str) -> None:
    """End everything that is left, and tell of what is not Wine's own."""
    told = False
    pause = 0.005
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        found = descendants()
        strange = [line for line in found.values() if line and not is_own(line, prefix)]
        if strange and not told:
            told = True
            os.write(
                2, ("\n%s%d: %s\n" % (LEFT, len(strange), "; ".join(strange[:5]))).encode("utf-8", "backslashreplace")
            )
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        # To look through all processes is most of the work here.
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def is_own(line: str, prefix: str) -> bool:
    """Say whether a command line is of a part of Wine."""
    windows = ("c:\\windows\\system32\\", "c:\\windows\\syswow64\\")
    return line.lower().startswith(windows) or "wineserver" in line or prefix in line


def descendants() -> dict[int, str]:
    """Return the living processes below this one and their command lines."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError), open("/proc/%s/stat" % name, "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    parents[int(name)] = int(parent)
    found: dict[int, str] = {}
    level = {os.getpid()}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level and pid not in found}
        for pid in level:
            found[pid] = ""
            with contextlib.suppress(OSError), open("/proc/%d/cmdline" % pid, "rb") as file:
                words = file.read(500).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "backslashreplace")
                found[pid] = " ".join(words.split())[:200]
    return found


def remove(prefix: str) -> None:
    """Remove the prefix and what its server left elsewhere."""
    remove_sockets(prefix)
    shutil.rmtree(prefix, ignore_errors=True)


def remove_sockets(prefix: str) -> None:
    """Remove the folder where the server of a prefix had its socket.

    Wine names that by the prefix (``server/request.c``), Debian's Wine at random, and writes the name into the prefix.
    """
    folders = []
    with contextlib.suppress(OSError):
        about = os.stat(prefix)
        # The folder around it stays: another session may be about to use it.
        folders.append("/tmp/.wine-%d/server-%x-%x" % (os.getuid(), about.st_dev, about.st_ino))  # noqa: S108
    with contextlib.suppress(OSError, ValueError), open(os.path.join(prefix, "wineserver"), encoding="ascii") as file:
        name = file.read().strip()
        if name.startswith("wine-") and "/" not in name:
            folders.append("/tmp/" + name)  # noqa: S108
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def become_subreaper() -> None:
    """Have orphans below this process become its children (Linux)."""
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def prctl(option: int, value: int) -> None:
    """Tell the kernel something of this process: the system call of that name."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

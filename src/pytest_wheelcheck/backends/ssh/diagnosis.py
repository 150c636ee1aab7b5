"""What a message of ssh or of the agent means: what happened, the likely cause and the fix."""

from __future__ import annotations

import re
import shlex

from pytest_wheelcheck.backends.ssh.destination import Destination
from pytest_wheelcheck.errors import ProcessError

#: What the first command on the board prints if it finds no Python.
NO_PYTHON = "wheelcheck: no python"


class BoardError(ProcessError):
    """Something on the board, or the connection to it, does not work. It says nothing about a wheel."""


class UnreachableError(BoardError):
    """A board does not answer; it may later."""


class ConnectionLostError(BoardError):
    """The connection to a board was lost; it may come back."""


#: Patterns that are also seen while a board restarts.
_REFUSED = r"Connection refused"
_SILENT = r"timed out|not responding|No route to host|Network is unreachable|Host is down"
_TEMPORARY = frozenset({_REFUSED, _SILENT})

#: Patterns in ssh's messages (OpenSSH 9), each with what happened, the cause and the fix. ``{name}`` is the board,
#: ``{ssh}`` the command that connects to it.
_MESSAGES = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of {name} is not the one that ssh knows",
        "the board was installed anew, or another computer has its address",
        "if that is expected, remove the old key (ssh-keygen -R {host}), then connect once: {ssh}",
    ),
    (
        r"Host key verification failed|No \S+ host key is known|host key is not known",
        "ssh does not know the host key of {name}",
        "this account has never connected to the board, and a test run does not accept keys by itself",
        "connect once, compare the key and accept it: {ssh}",
    ),
    (
        r"Permission denied \(|Too many authentication failures|no mutual signature",
        "{name} refuses this account's keys",
        "the public key is not in the board's ~/.ssh/authorized_keys, or the key needs a passphrase and no agent runs",
        "ssh-copy-id {target}, or ssh-add; passwords are not asked for in a run",
    ),
    (
        r"Could not resolve hostname|Name or service not known|nodename nor servname",
        "ssh finds no board named {host}",
        "the name is misspelled, or the board is not in this network",
        "check the name: {ssh}",
    ),
    (
        _REFUSED,
        "{name} refuses the connection",
        "sshd does not run there, or listens on another port",
        "enable ssh on the board, or correct the port: ssh://{target}:PORT",
    ),
    (
        _SILENT,
        "{name} does not answer",
        "the board is switched off, or the network does not reach it",
        "check it: {ssh}",
    ),
    (
        r"Bad configuration option|Bad owner or permissions on|terminating, \d+ bad configuration",
        "ssh refuses its own configuration",
        "an error in ~/.ssh/config, or its permissions",
        "check it: {ssh}",
    ),
    (
        r"This account is (currently )?not available|/nologin",
        "the account on {name} has no shell",
        "its login shell is nologin",
        "use another account, or set a shell: chsh -s /bin/sh",
    ),
)

#: What the kinds of errors of the agent mean; ``{text}`` is the system's message.
_KINDS = {
    "full": (
        "the file system of {name} is full: {text}",
        "the wheel, its dependencies and the test tools do not fit",
        "free space there, run `wheelcheck board {address} --clean`, or name another directory: directory=PATH in wheel_hosts",
    ),
    "read-only": (
        "the file system of {name} is read-only: {text}",
        "the home directory is mounted read-only, or the kernel has found errors on the memory card",
        "name a directory that can be written: directory=PATH in wheel_hosts",
    ),
    "forbidden": (
        "{name} does not allow to write its files: {text}",
        "the directory belongs to another user",
        "name a directory that can be written: directory=PATH in wheel_hosts",
    ),
    "noexec": (
        "programs cannot be started in {text} of {name}",
        "the file system is mounted noexec",
        "name a directory of another file system: directory=PATH in wheel_hosts",
    ),
    "memory": ("{name} is out of memory: {text}", "other programs use it", "end them, or use a board with more memory"),
    "busy": ("{name}: {text}", "the board is overloaded", "wait a minute, or restart the board"),
}


def connecting(destination: Destination, output: str) -> BoardError:
    """Explain why ssh could not connect, or why the agent did not start.

    :param output: of ssh, on standard error.
    """
    names = _names(destination)
    for pattern, message, cause, fix in _MESSAGES:
        if re.search(pattern, output, re.IGNORECASE):
            kind = UnreachableError if pattern in _TEMPORARY else BoardError
            return kind(message.format(**names), cause=cause, fix=fix.format(**names), details=_last_lines(output))
    if NO_PYTHON in output:
        found = output.partition(NO_PYTHON)[2].strip(": \n")
        return BoardError(
            f"{destination.name} has no Python 3.9 or newer",
            cause=f"none of the usual directories has one ({found})",
            fix="install one there (apt install python3)",
        )
    return UnreachableError(
        f"the connection to {destination.name} failed",
        cause="see ssh's message" if output.strip() else "ssh ended without a message",
        fix=f"check it: {names['ssh']}",
        details=_last_lines(output),
    )


def lost(destination: Destination, output: str = "") -> ConnectionLostError:
    """Return the error of a connection that ended unexpectedly."""
    return ConnectionLostError(
        f"the connection to {destination.name} was lost",
        cause="the network failed, the board was switched off or restarted, or its sshd ended the connection",
        fix=f"check it: {_names(destination)['ssh']}; wait=SECONDS in wheel_hosts sets how long a run waits for the board",
        details=_last_lines(output),
    )


def refused(destination: Destination, kind: str, text: str) -> BoardError:
    """Explain an error of the agent."""
    names = _names(destination)
    message, cause, fix = _KINDS.get(kind, ("{name}: {text}", "", ""))
    return BoardError(message.format(**names, text=text), cause=cause, fix=fix.format(**names))


def talkative(destination: Destination, output: str) -> BoardError:
    """Return the error of a login shell that prints before it runs a command: that would be taken for data."""
    return BoardError(
        f"the shell of {destination.name} prints text before it runs a command: {output.strip()[:200]!r}",
        cause="a start file such as ~/.bashrc prints in shells that are not interactive",
        fix="let it print only in interactive shells: case $- in *i*) ...;; esac",
    )


def _names(destination: Destination) -> dict[str, str]:
    target = f"{destination.user}@{destination.host}" if destination.user else destination.host
    port = f"-p {destination.port} " if destination.port else ""
    return {
        "name": destination.name,
        "host": f"[{destination.host}]:{destination.port}" if destination.port else destination.host,
        "target": target,
        "ssh": f"ssh {port}{target}",
        "address": shlex.quote(f"ssh://{target}{f':{destination.port}' if destination.port else ''}"),
    }


def _last_lines(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-12:])

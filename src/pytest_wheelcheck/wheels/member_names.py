"""Rules for the names of a container's members.

The names are checked for every system at once, since a wheel can be opened on each of them.
"""

from __future__ import annotations

import re
import unicodedata

#: Maximum number of characters in a path (Linux's PATH_MAX).
MAX_NAME = 4096

#: Device names of Windows, with any extension (Microsoft, "Naming Files, Paths, and Namespaces").
_DEVICE_NAME = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?:\..*)?", re.IGNORECASE)
_FORBIDDEN_ON_WINDOWS = re.compile(r'[<>:"|?*]')


def unsafe_name(name: str) -> str | None:
    """Return the reason why a member's name must not become a path below any directory; ``None`` if it is safe."""
    reason = None
    if not name or name == "/":
        reason = "is empty"
    elif len(name) > MAX_NAME:
        reason = f"has more than {MAX_NAME} characters"
    elif name.startswith("/"):
        reason = "is absolute"
    elif "\\" in name:
        reason = "contains a backslash, which is a separator on Windows"
    elif re.match(r"[A-Za-z]:", name):
        reason = "starts with a drive letter"
    elif any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        reason = "contains control characters"
    else:
        parts = name.removesuffix("/").split("/")
        if ".." in parts:
            reason = "leaves the target directory with '..'"
        elif "." in parts or "" in parts:
            reason = "has an empty or '.' component"
    return reason


def windows_name(name: str) -> str | None:
    """Return the reason why Windows cannot create a file with this safe name; ``None`` if it can.

    Source: Microsoft, "Naming Files, Paths, and Namespaces".
    """
    for part in name.removesuffix("/").split("/"):
        if _DEVICE_NAME.fullmatch(part):
            return f"'{part}' is a device name"
        if part.endswith((" ", ".")):
            return f"'{part}' ends with a space or a dot"
        if match := _FORBIDDEN_ON_WINDOWS.search(part):
            return f"'{part}' contains {match[0]}"
    return None


def fold(name: str) -> str:
    """Return a name as a file system compares it that ignores case and the composition of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

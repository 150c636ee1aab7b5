"""Modules that belong to some builds or platforms only, and distributions whose modules have other names."""

from __future__ import annotations

import sys

from packaging.utils import canonicalize_name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Parts of the standard library that a build, or a distribution's package, may lack: they need a library of their own
#: (CPython's ``configure``), or come in another package (Debian's). The second ones are not there on Windows at all.
OPTIONAL = frozenset(
    {"tkinter", "_tkinter", "turtle", "idlelib", "_ctypes", "_sqlite3", "_ssl", "_hashlib", "_lzma", "_bz2", "_zstd"}
)
OPTIONAL_ON_UNIX = frozenset(
    {"readline", "_curses", "_curses_panel", "_gdbm", "_dbm", "_crypt", "_uuid", "nis", "ossaudiodev"}
)

#: The standard library of 3.9 to 3.14: a host's own list lacks what its version removed.
STANDARD_LIBRARY = frozenset(sys.stdlib_module_names) | _words(
    "_bootsubprocess _crypt aifc asynchat asyncore audioop binhex cgi cgitb chunk crypt distutils "
    "formatter imghdr imp lib2to3 mailcap msilib nis nntplib ossaudiodev parser pipes smtpd sndhdr spwd "
    "sunau symbol telnetlib tomllib uu xdrlib annotationlib compression"
)

#: Modules of the standard library of Python 2.
PYTHON_2 = _words(
    "BaseHTTPServer ConfigParser Cookie HTMLParser Queue SimpleHTTPServer SocketServer StringIO Tkinter UserDict UserList "
    "UserString __builtin__ anydbm cPickle cStringIO commands cookielib exceptions htmlentitydefs httplib md5 robotparser sets "
    "sha thread tkMessageBox urllib2 urlparse xmlrpclib"
)

#: Modules of one kind of system: the standard library, and the bindings that everybody uses there (pywin32, pyobjc, Pyodide).
#: Source: the "Availability" notes of the documentation of the standard library.
SYSTEMS = {
    "win32": _words(
        "_msi _overlapped _winapi _winreg msilib msvcrt nt winreg winsound pythoncom pywintypes win32api "
        "win32clipboard win32com win32con win32console win32event win32file win32gui win32job win32pdh "
        "win32pipe win32print win32process win32security win32service win32serviceutil win32ui "
        "servicemanager winrt"
    ),
    "unix": _words(
        "_posixshmem _posixsubprocess crypt curses _curses fcntl grp posix pty pwd readline resource spwd "
        "syslog termios tty"
    ),
    "darwin": _words("AppKit Cocoa CoreFoundation CoreServices Foundation Quartz _scproxy objc"),
    "emscripten": frozenset({"_pyodide", "_pyodide_core", "js", "pyodide", "pyodide_js"}),
    "android": frozenset({"android", "jnius"}),
    "java": frozenset({"java", "javax"}),
}

#: Modules that only the interpreter inside a program has, and no distribution installs.
PROGRAMS = {
    "gdb": "GDB",
    "hexchat": "HexChat",
    "idaapi": "IDA",
    "lldb": "LLDB",
    "sublime": "Sublime Text",
    "sublime_plugin": "Sublime Text",
    "uwsgi": "uWSGI",
    "vim": "Vim",
    "weechat": "WeeChat",
}

#: Words in the name of a module that is for one kind of system, by the kinds above.
SYSTEM_WORDS = {
    "win": "win32",
    "win32": "win32",
    "windows": "win32",
    "nt": "win32",
    "mac": "darwin",
    "macos": "darwin",
    "macosx": "darwin",
    "osx": "darwin",
    "darwin": "darwin",
    "fsevents": "darwin",
    "inotify": "linux",
    "linux": "linux",
    "unix": "unix",
    "posix": "unix",
    "bsd": "bsd",
    "freebsd": "bsd",
    "openbsd": "bsd",
    "netbsd": "bsd",
    "aix": "aix",
    "sunos": "sunos",
    "solaris": "sunos",
    "cygwin": "cygwin",
    "android": "android",
    "ios": "ios",
    "java": "java",
    "jython": "java",
    "emscripten": "emscripten",
    "pyodide": "emscripten",
    "wasm": "emscripten",
}

#: How a kind of system is called in messages.
SYSTEM_NAMES = {"win32": "Windows", "unix": "Unix", "darwin": "macOS", "linux": "Linux", "java": "Java"}

#: Modules of well-known distributions whose names differ from theirs, by normalized name.
_MODULES = {
    "attrs": "attr attrs",
    "beautifulsoup4": "bs4",
    "cffi": "_cffi_backend",
    "dnspython": "dns",
    "grpcio": "grpc",
    "ipykernel": "IPython",
    "ipywidgets": "IPython",
    "jupyter": "IPython notebook",
    "mysqlclient": "MySQLdb",
    "notebook": "IPython",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "protobuf": "google",
    "psycopg2-binary": "psycopg2",
    "pycryptodome": "Crypto",
    "pycryptodomex": "Cryptodome",
    "pygobject": "gi",
    "pyjwt": "jwt",
    "pyobjc": "AppKit CoreFoundation Foundation Quartz objc",
    "pyopenssl": "OpenSSL",
    "pypiwin32": "win32api",
    "pysocks": "socks sockshandler",
    "pyusb": "usb",
    "python-dateutil": "dateutil",
    "pywin32": " ".join(SYSTEMS["win32"]),
    "pyyaml": "yaml _yaml",
    "pyzmq": "zmq",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "setuptools": "pkg_resources _distutils_hack distutils",
    "skia-pathops": "pathops",
    "typing-extensions": "typing_extensions",
}


def brings(distribution: str, module: str) -> bool:
    """Return whether a distribution brings a top-level module, as far as their names show it.

    ``google-cloud-storage`` has modules below ``google``; ``flask-login`` has none below ``flask``, but depends on it.
    """
    name = canonicalize_name(distribution)
    if module in _MODULES.get(name, "").split():
        return True
    bare = canonicalize_name(module).replace("-", "")
    first = name.partition("-")[0]
    return bare in {name.replace("-", ""), first, *_without_python(name)}


def distribution_of(module: str) -> str:
    """Return the distribution that usually brings a top-level module: the one of its name, if no other is known."""
    known = (name for name, modules in _MODULES.items() if module in modules.split())
    return next(known, canonicalize_name(module))


def _without_python(name: str) -> tuple[str, ...]:
    parts = [part for part in name.split("-") if part not in {"python", "py"}]
    joined = "".join(parts)
    return (joined, joined.removeprefix("py"), joined.removesuffix("py"))


def is_for(kind: str, system: str) -> bool:
    """Return whether a kind of system, such as ``unix``, includes a target's ``sys.platform``."""
    return kind == system or (kind == "unix" and system != "win32")


def foreign_system(name: str, system: str) -> str:
    """Return the kind of system that a dotted name is for, by its words; empty if there is none or it is the target's.

    :param system: ``sys.platform`` of the target.
    """
    words = [word for part in name.lower().split(".") for word in part.strip("_").split("_")]
    kinds = [SYSTEM_WORDS[word] for word in words if word in SYSTEM_WORDS]
    return kinds[-1] if kinds and not any(is_for(kind, system) for kind in kinds) else ""

"""Everything that knows uv: where it is, how it is configured, how it is run, and what its errors mean.

Nothing is installed without the user's own package settings. uv reads its own (``UV_*``, ``uv.toml``,
``[tool.uv]``). pip's (``PIP_*``, ``pip.conf``) uv leaves alone on purpose
(https://docs.astral.sh/uv/pip/compatibility/), so they are translated here. Precedence, weakest first: pip's files,
pip's environment variables, uv's files, uv's environment variables, :class:`InstallSettings`.
"""

from __future__ import annotations

import configparser
import functools
import locale
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import InstallError, ProcessError
from pytest_wheelcheck.system import process

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

#: Seconds that one call of uv may take: it may have to download, and to build from source.
DEADLINE = 1800.0

#: uv's variables that would change *what* is done here rather than where packages come from. ``UV_REQUIRE_HASHES``
#: refuses every local wheel without a hash. ``PYTHONPYCACHEPREFIX`` leads byte-code away from what it is compiled for.
_NOT_OURS = (
    "PYTHONPYCACHEPREFIX",
    "UV_COMPILE_BYTECODE",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_LINK_MODE",
    "UV_PROJECT",
    "UV_PYTHON",
    "UV_REQUIRE_HASHES",
    "UV_SYSTEM_PYTHON",
    "UV_WORKING_DIR",
)

_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
_INDEX_KEYS = ("index", "index-url", "extra-index-url", "no-index")

#: pip's long option → uv's variable, where one value means the same in both.
#: Sources: ``pip install --help`` (23 to 26), ``uv help pip install`` (0.13), uv's reference of environment variables.
_SAME_VALUE = {
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "trusted-host": "UV_INSECURE_HOST",
    "client-cert": "SSL_CLIENT_CERT",
    "uploaded-prior-to": "UV_EXCLUDE_NEWER",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallSettings:
    """Where dependencies come from, as the command line says; stronger than every other configuration.

    :param offline: use no network: uv's cache, *find_links* and local files only.
    :param find_links: further folders or pages of distributions, before those configured elsewhere.
    :param index: the URL of the package index; ``None`` for the configured one.
    :param extra_index: URLs of further indexes, before those configured elsewhere.
    """

    offline: bool = False
    find_links: tuple[str, ...] = ()
    index: str | None = None
    extra_index: tuple[str, ...] = ()


@functools.cache
def executable() -> Path:
    """Find uv's executable, the one of the distribution ``uv`` that this package depends on.

    :raises InstallError: there is none.
    """
    import uv

    try:
        return Path(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise InstallError(
            "uv, which installs wheels, is not here",
            cause="the distribution uv is installed without its executable",
            fix=f"{sys.executable} -m pip install --force-reinstall uv",
            details=str(error),
        ) from None


@functools.cache
def version() -> str:
    """Tell uv's version, such as ``0.13.8``, as it tells it itself.

    :raises InstallError: uv is not here or does not start.
    """
    try:
        words = process.run([executable(), "--version", "--color", "never"], timeout=60).stdout.split()
    except ProcessError as error:
        raise _from_process("uv does not start", error) from error
    return words[1] if len(words) > 1 else "unknown"


# --- pip's configuration ---------------------------------------------------------------------------------------------


def pip_files(environ: Mapping[str, str], *, system: str = sys.platform) -> tuple[Path, ...]:
    """List the files that pip's configuration is read from, weakest first, whether or not they exist.

    Source: https://pip.pypa.io/en/stable/topics/configuration/ and ``pip._internal.configuration``.

    :param environ: environment variables.
    :param system: as ``sys.platform``.
    """
    chosen = environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return ()
    name = "pip.ini" if system == "win32" else "pip.conf"
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    files: list[Path] = []
    if system == "win32":
        files.append(Path(environ.get("PROGRAMDATA") or r"C:\ProgramData") / "pip" / name)
        user = [home / "pip" / name, Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / "pip" / name]
    elif system == "darwin":
        files.append(Path("/Library/Application Support/pip") / name)
        support = home / "Library" / "Application Support" / "pip"
        user = [home / ".pip" / name, (support if support.is_dir() else home / ".config" / "pip") / name]
    else:
        folders = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
        files.extend(Path(folder) / "pip" / name for folder in folders if folder)
        files.append(Path("/etc") / name)
        user = [home / ".pip" / name, Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / name]
    # A file that was chosen takes the place of the user's.
    if not (chosen and Path(chosen).exists()):
        files.extend(user)
    files.append(Path(environ.get("VIRTUAL_ENV") or sys.prefix) / name)
    if chosen:
        files.append(Path(chosen))
    return tuple(files)


def pip_configuration(environ: Mapping[str, str], *, system: str = sys.platform) -> dict[str, str]:
    """Read what pip's files and environment variables say for ``pip install``.

    As in pip: a later file beats an earlier one key by key, ``[install]`` beats ``[global]``, ``PIP_*`` beats both,
    and an empty value counts for nothing. Source: ``pip._internal.cli.parser.ConfigOptionParser``.

    :return: pip's long option without dashes (``index-url``) → its value, unsplit.
    :raises InstallError: a file cannot be read.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in pip_files(environ, system=system):
        if not path.is_file():
            continue
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding=locale.getpreferredencoding(do_setlocale=False))
        except (configparser.Error, UnicodeDecodeError) as error:
            raise InstallError(
                f"pip's configuration file {path} cannot be read",
                fix="fix it, or set the environment variable PIP_CONFIG_FILE to the null device",
                details=str(error),
            ) from error
        for section, values in sections.items():
            if parser.has_section(section):
                values.update({_pip_name(key): value for key, value in parser.items(section)})
    variables = {_pip_name(key[4:]): value for key, value in environ.items() if key.startswith("PIP_")}
    merged: dict[str, str] = {}
    for values in (sections["global"], sections["install"], variables):
        merged.update({key: value for key, value in values.items() if value})
    return merged


def _pip_name(key: str) -> str:
    return key.lower().replace("_", "-").removeprefix("--")


def _true(value: str | None) -> bool:
    return (value or "").lower() in ("y", "yes", "t", "true", "on", "1")


# --- uv's configuration ----------------------------------------------------------------------------------------------


def uv_files(environ: Mapping[str, str], *, system: str = sys.platform) -> tuple[Path, ...]:
    """List the files of uv's configuration that belong to the system and the user, whether or not they exist.

    Source: https://docs.astral.sh/uv/concepts/configuration-files/.
    """
    if environ.get("UV_CONFIG_FILE"):
        return (Path(environ["UV_CONFIG_FILE"]),)
    if _true(environ.get("UV_NO_CONFIG")):
        return ()
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    if system == "win32":
        return (
            Path(environ.get("PROGRAMDATA") or r"C:\ProgramData") / "uv" / "uv.toml",
            Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / "uv" / "uv.toml",
        )
    folders = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    return (
        *(Path(folder) / "uv" / "uv.toml" for folder in folders if folder),
        Path("/etc/uv/uv.toml"),
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml",
    )


def uv_project(environ: Mapping[str, str], folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find the configuration that uv would discover from *folder* upwards, in ``uv.toml`` or ``[tool.uv]``.

    :return: the file and its settings, or ``None`` where there is none or the environment turns it off. A file that
        cannot be parsed counts as absent: uv itself complains of it where it reads it.
    """
    if environ.get("UV_CONFIG_FILE") or _true(environ.get("UV_NO_CONFIG")):
        return None
    for parent in (folder, *folder.parents):
        own = parent / "uv.toml"
        if own.is_file():
            return own, _toml(own)
        project = parent / "pyproject.toml"
        if project.is_file():
            table = _toml(project).get("tool", {}).get("uv")
            if isinstance(table, dict):
                return project, table
    return None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _project_arguments(environ: Mapping[str, str], path: Path, table: Mapping[str, Any]) -> list[str]:
    """Say a project's settings of uv about *where packages come from* as arguments, and no others.

    ``override-dependencies``, ``constraint-dependencies``, ``exclude-dependencies`` and ``sources`` hold for the
    project's own environments; nobody who installs its wheel has them.
    """
    pip = table.get("pip")
    settings = {**table, **(pip if isinstance(pip, dict) else {})}
    words = [] if any(environ.get(name) for name in _INDEX_VARIABLES) else _project_indexes(settings)
    if not environ.get("UV_FIND_LINKS"):
        for place in _strings(settings.get("find-links")):
            words += ["--find-links", place if "://" in place else str((path.parent / place).resolve())]
    for key, variable in (
        ("index-strategy", "UV_INDEX_STRATEGY"),
        ("keyring-provider", "UV_KEYRING_PROVIDER"),
        ("exclude-newer", "UV_EXCLUDE_NEWER"),
    ):
        if isinstance(settings.get(key), str) and not environ.get(variable):
            words += [f"--{key}", settings[key]]
    if not environ.get("UV_INSECURE_HOST"):
        for host in _strings(settings.get("allow-insecure-host")):
            words += ["--allow-insecure-host", host]
    return words


def _project_indexes(settings: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for entry in settings.get("index", ()):
        if isinstance(entry, dict) and isinstance(entry.get("url"), str) and not entry.get("explicit"):
            name = f"{entry['name']}=" if entry.get("name") else ""
            words += ["--default-index" if entry.get("default") else "--index", f"{name}{entry['url']}"]
    if isinstance(settings.get("index-url"), str):
        words += ["--index-url", settings["index-url"]]
    for url in _strings(settings.get("extra-index-url")):
        words += ["--extra-index-url", url]
    if settings.get("no-index") is True:
        words.append("--no-index")
    return words


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Configured:
    """Which of pip's settings uv's own configuration leaves room for."""

    index: bool
    find_links: bool


def _uv_has(environ: Mapping[str, str], folder: Path) -> _Configured:
    tables = [_toml(path) for path in uv_files(environ) if path.is_file()]
    if found := uv_project(environ, folder):
        tables.append(found[1])
    keys = set[str]()
    for table in tables:
        pip = table.get("pip")
        keys.update(table, pip if isinstance(pip, dict) else ())
    return _Configured(
        index=any(environ.get(name) for name in _INDEX_VARIABLES) or not keys.isdisjoint(_INDEX_KEYS),
        find_links=bool(environ.get("UV_FIND_LINKS")) or "find-links" in keys,
    )


# --- both together ---------------------------------------------------------------------------------------------------


def environment(environ: Mapping[str, str], config: Mapping[str, str]) -> dict[str, str]:
    """Make the environment variables for uv: the user's, with pip's settings where uv's say nothing.

    :param environ: the user's variables.
    :param config: what :func:`pip_configuration` read.
    """
    env = {key: value for key, value in environ.items() if key not in _NOT_OURS}
    for option, variable in _SAME_VALUE.items():
        if option in config:
            env.setdefault(variable, config[option])
    if "cert" in config:
        env.setdefault("SSL_CERT_FILE", config["cert"])
    # What pip's HTTP library reads; requests.Session.merge_environment_settings.
    bundle = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    if bundle and not environ.get("SSL_CERT_DIR"):
        env.setdefault("SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE", bundle)
    if "proxy" in config:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            if not (environ.get(name) or environ.get(name.lower())):
                env[name] = config["proxy"]
    if _true(config.get("pre")):
        env.setdefault("UV_PRERELEASE", "allow")
    if config.get("keyring-provider") == "subprocess":
        env.setdefault("UV_KEYRING_PROVIDER", "subprocess")
    # pip takes the best version of all indexes, uv stops at the first that knows the name.
    if "extra-index-url" in config and not any(environ.get(name) for name in _INDEX_VARIABLES):
        env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    # Interpreters come from the runtimes, never from here.
    env["UV_PYTHON_DOWNLOADS"] = "never"
    # uv would break its sentences at the terminal's width; they are shown, and looked at, as they are.
    env.pop("COLUMNS", None)
    return env


def arguments(
    settings: InstallSettings, environ: Mapping[str, str], config: Mapping[str, str], *, project: Path | None = None
) -> list[str]:
    """Make the arguments that tell ``uv pip install`` and ``uv pip compile`` where packages come from.

    :param settings: the command line's.
    :param environ: the user's variables.
    :param config: what :func:`pip_configuration` read.
    :param project: hides the configuration of the project at hand from uv except for where packages come from, by
        having uv look for one in this folder, which should have none. ``None`` leaves it in force.
    """
    here = Path.cwd()
    has = _uv_has(environ, here)
    words: list[str] = []
    if settings.offline:
        words.append("--offline")
    words += _index_arguments(settings, environ, {} if has.index else config)
    # An option on the command line hides uv's variable of that name, so the variable's places are said again.
    links = list(settings.find_links)
    if links:
        links += [place for place in environ.get("UV_FIND_LINKS", "").split(",") if place]
    if not has.find_links:
        # pip warns of a folder that is not there and goes on; uv gives up.
        links += [place for place in config.get("find-links", "").split() if "://" in place or Path(place).exists()]
    for place in links:
        words += ["--find-links", place]
    for option, word, variable in (
        ("constraint", "--constraints", "UV_CONSTRAINT"),
        ("build-constraint", "--build-constraints", "UV_BUILD_CONSTRAINT"),
        ("only-binary", "--only-binary", "UV_NO_BUILD"),
        ("no-binary", "--no-binary", "UV_NO_BINARY"),
    ):
        if option in config and not environ.get(variable):
            separators = r"[\s,]+" if option.endswith("binary") else r"\s+"
            for value in filter(None, re.split(separators, config[option])):
                words += [word, value]
    if project is not None:
        if found := uv_project(environ, here):
            taken = _project_arguments(environ, *found)
            words += _without_index(taken) if settings.index is not None else taken
        words += ["--project", str(project)]
    return words


def _index_arguments(settings: InstallSettings, environ: Mapping[str, str], config: Mapping[str, str]) -> list[str]:
    words: list[str] = []
    default = settings.index if settings.index is not None else config.get("index-url")
    extra = list(settings.extra_index)
    if extra:
        extra += environ.get("UV_INDEX", "").split()
    extra += config.get("extra-index-url", "").split()
    if default is not None:
        words += ["--default-index", default]
    for url in extra:
        words += ["--index", url]
    if _true(config.get("no-index")) and settings.index is None and not settings.extra_index:
        return ["--no-index"]
    return words


def _without_index(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    pairs = iter(words)
    for word in pairs:
        if word == "--no-index":
            continue
        value = next(pairs)
        if word not in ("--default-index", "--index-url"):
            kept += [word, value]
    return kept


# --- running it ------------------------------------------------------------------------------------------------------


def run(
    words: Iterable[str | Path],
    settings: InstallSettings,
    *,
    project: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float = DEADLINE,
) -> process.CompletedProcess:
    """Run ``uv pip WORDS`` with the user's settings, in the current folder.

    :param words: the command and its own arguments, such as ``install --python …``.
    :param settings: the command line's.
    :param project: as for :func:`arguments`.
    :param environ: the user's variables; ``None`` for this process's.
    :param timeout: seconds.
    :return: how it ended; the caller looks at ``code``.
    :raises InstallError: uv is not here, cannot be started, or outlived *timeout*.
    """
    environ = os.environ if environ is None else environ
    config = pip_configuration(environ)
    command = [
        executable(),
        "pip",
        *words,
        *arguments(settings, environ, config, project=project),
        "--no-progress",
        "--color",
        "never",
    ]
    try:
        return process.run(
            command, env=environment(environ, config), timeout=timeout, check=False, end_with_parent=True
        )
    except ProcessError as error:
        raise _from_process("uv did not do its work", error) from error


def is_conflict(completed: process.CompletedProcess) -> bool:
    """Tell whether uv found that requirements contradict each other, rather than that something broke."""
    words = completed.stderr
    return (
        completed.code != 0
        and ("No solution found" in words or "conflicting URLs for package" in words)
        and "was not found in" not in words
        and "the network was disabled" not in words
    )


#: What uv says → the likely cause, and what to do next. The first that fits is taken. Words of uv 0.13.
_MEANINGS = (
    (
        r"the network was disabled|was not found in the cache",
        "without the network, packages come only from uv's cache and from --wheel-find-links, and one is in neither",
        "run once without --wheel-offline, which fills the cache, or give a folder with --wheel-find-links",
    ),
    (
        r"error sending request|dns error|Failed to fetch|tcp connect error|operation timed out|Network unreachable",
        "the package index cannot be reached, or refuses",
        "check network, proxy, --wheel-index; or use uv's cache (--wheel-offline) or a folder (--wheel-find-links)",
    ),
    (
        r"Failed to read `--find-links`",
        "a folder that distributions should come from cannot be read",
        "correct --wheel-find-links or UV_FIND_LINKS",
    ),
    (
        r"does not satisfy Python",
        "Requires-Python of the wheel, or of a dependency, excludes this interpreter",
        "correct requires-python, or the tag that admits this interpreter",
    ),
    (
        r"does not match given name|does not match filename|metadata (name|version) .* does not match",
        "the file's name and its METADATA tell different names or versions",
        "build the wheel again; do not rename wheels",
    ),
    (
        r"has no wheels with a matching|no wheels are available|is not compatible with the current platform",
        "no wheel of it has a tag that this interpreter accepts",
        "correct the tag, or have that dependency built for this platform",
    ),
    (
        r"Failed to build|build backend",
        "a dependency has no wheel for this interpreter and platform and could not be built from source",
        "give a wheel of it with --wheel-find-links, or narrow the dependency with a marker",
    ),
    (
        r"zip file|central directory|Failed to extract|Failed to read metadata|dist-info|RECORD|METADATA",
        "the wheel is damaged, or was not made by a build backend",
        "build it again",
    ),
    (
        r"was not found in (the package registry|the provided package locations)",
        "a requirement names a distribution that none of the indexes and folders has",
        "correct Requires-Dist, or say where it is with --wheel-index or --wheel-find-links",
    ),
    (
        r"No solution found|conflicting URLs",
        "the requirements contradict each other, or no version fits",
        "correct the requirements",
    ),
)


def install_error(what: str, completed: process.CompletedProcess) -> InstallError:
    """Make the error of a call of uv that failed: its own words, what they mean, and what to do.

    :param what: what could not be done, one sentence.
    :param completed: how uv ended.
    """
    details = output(completed)
    for pattern, cause, advice in _MEANINGS:
        if re.search(pattern, details):
            return InstallError(what, cause=cause, fix=advice, details=details)
    status = process.describe_status(completed.code)
    return InstallError(what, cause=f"uv ended with {status}", details=details or "uv said nothing")


def output(completed: process.CompletedProcess) -> str:
    """Give what uv said, without its line on the interpreter that it uses."""
    lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
    return "\n".join(line for line in lines if not re.match(r"Using (C?Python|PyPy|Python) .* (at|environment)", line))


def _from_process(what: str, error: ProcessError) -> InstallError:
    return InstallError(f"{what}: {error.message}", cause=error.cause, fix=error.fix, details=error.details)

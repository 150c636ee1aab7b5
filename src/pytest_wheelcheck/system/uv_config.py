"""Configure uv: where packages come from.

Packages are always installed with the user's own package settings. uv reads its own (``UV_*``, ``uv.toml``,
``[tool.uv]``). It ignores pip's (``PIP_*``, ``pip.conf``) on purpose
(https://docs.astral.sh/uv/pip/compatibility/), so they are translated here. Precedence, weakest first: pip's files,
pip's environment variables, uv's files, uv's environment variables, :class:`InstallSettings`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_wheelcheck.system.pip_config import is_true

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

#: Variables of uv that would change *what* is done here instead of where packages come from. ``UV_REQUIRE_HASHES``
#: refuses every local wheel without a hash. ``PYTHONPYCACHEPREFIX`` moves bytecode away from the files it belongs to.
_DROPPED_VARIABLES = (
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

#: pip's long option → the variable of uv that takes the same value.
#: Sources: ``pip install --help`` (23 to 26), ``uv help pip install`` (0.13), uv's reference of environment variables.
_PIP_OPTION_VARIABLES = {
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "trusted-host": "UV_INSECURE_HOST",
    "client-cert": "SSL_CLIENT_CERT",
    "uploaded-prior-to": "UV_EXCLUDE_NEWER",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallSettings:
    """Where dependencies come from according to the command line, which overrides every other configuration.

    :param offline: use no network, only uv's cache, *find_links* and local files.
    :param find_links: further directories or pages of distributions, before those configured elsewhere.
    :param index: the URL of the package index; ``None`` for the configured one.
    :param extra_index: URLs of further indexes, before those configured elsewhere.
    """

    offline: bool = False
    find_links: tuple[str, ...] = ()
    index: str | None = None
    extra_index: tuple[str, ...] = ()


# --- uv's own configuration ------------------------------------------------------------------------------------------


def files(environ: Mapping[str, str], *, system: str = sys.platform) -> tuple[Path, ...]:
    """List the configuration files of the system and the user, weakest first, whether or not they exist.

    Source: https://docs.astral.sh/uv/concepts/configuration-files/.
    """
    if environ.get("UV_CONFIG_FILE"):
        return (Path(environ["UV_CONFIG_FILE"]),)
    if is_true(environ.get("UV_NO_CONFIG")):
        return ()
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    if system == "win32":
        return (
            Path(environ.get("PROGRAMDATA") or r"C:\ProgramData") / "uv" / "uv.toml",
            Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / "uv" / "uv.toml",
        )
    directories = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    return (
        *(Path(directory) / "uv" / "uv.toml" for directory in directories if directory),
        Path("/etc/uv/uv.toml"),
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml",
    )


def find_project(environ: Mapping[str, str], directory: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find the configuration that uv discovers from *directory* upwards, in ``uv.toml`` or ``[tool.uv]``.

    :return: the file and its settings, or ``None`` if there is none or the environment disables it. A file that cannot
        be parsed counts as empty: uv reports the error itself.
    """
    if environ.get("UV_CONFIG_FILE") or is_true(environ.get("UV_NO_CONFIG")):
        return None
    for parent in (directory, *directory.parents):
        own = parent / "uv.toml"
        if own.is_file():
            return own, _read_toml(own)
        project = parent / "pyproject.toml"
        if project.is_file():
            table = _read_toml(project).get("tool", {}).get("uv")
            if isinstance(table, dict):
                return project, table
    return None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def index_arguments(environ: Mapping[str, str], directory: Path) -> list[str]:
    """Return the arguments for the indexes in uv's configuration files, the strongest first; uv itself needs none of them.

    :param directory: where uv looks for its project.
    """
    found = find_project(environ, directory)
    files_of_user = [(path, _read_toml(path)) for path in reversed(files(environ)) if path.is_file()]
    return [
        argument
        for path, table in (*([found] if found else []), *files_of_user)
        for argument in project_arguments(environ, path, table)
    ]


def project_arguments(environ: Mapping[str, str], path: Path, table: Mapping[str, Any]) -> list[str]:
    """Translate a project's settings about *where packages come from* to arguments, and no others.

    ``override-dependencies``, ``constraint-dependencies``, ``exclude-dependencies`` and ``sources`` apply to the
    project's own environments only: users who install its wheel do not have them.
    """
    pip = table.get("pip")
    settings = {**table, **(pip if isinstance(pip, dict) else {})}
    arguments = [] if any(environ.get(name) for name in _INDEX_VARIABLES) else _project_indexes(settings)
    if not environ.get("UV_FIND_LINKS"):
        for link in _strings(settings.get("find-links")):
            arguments += ["--find-links", link if "://" in link else str((path.parent / link).resolve())]
    for key, variable in (
        ("index-strategy", "UV_INDEX_STRATEGY"),
        ("keyring-provider", "UV_KEYRING_PROVIDER"),
        ("exclude-newer", "UV_EXCLUDE_NEWER"),
    ):
        if isinstance(settings.get(key), str) and not environ.get(variable):
            arguments += [f"--{key}", settings[key]]
    if not environ.get("UV_INSECURE_HOST"):
        for host in _strings(settings.get("allow-insecure-host")):
            arguments += ["--allow-insecure-host", host]
    return arguments


def _project_indexes(settings: Mapping[str, Any]) -> list[str]:
    arguments: list[str] = []
    for entry in settings.get("index", ()):
        if isinstance(entry, dict) and isinstance(entry.get("url"), str) and not entry.get("explicit"):
            name = f"{entry['name']}=" if entry.get("name") else ""
            arguments += ["--default-index" if entry.get("default") else "--index", f"{name}{entry['url']}"]
    if isinstance(settings.get("index-url"), str):
        arguments += ["--index-url", settings["index-url"]]
    for url in _strings(settings.get("extra-index-url")):
        arguments += ["--extra-index-url", url]
    if settings.get("no-index") is True:
        arguments.append("--no-index")
    return arguments


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Configured:
    """The settings that uv's own configuration makes, so that pip's do not apply."""

    index: bool
    find_links: bool


def _configured(environ: Mapping[str, str], directory: Path) -> _Configured:
    tables = [_read_toml(path) for path in files(environ) if path.is_file()]
    if found := find_project(environ, directory):
        tables.append(found[1])
    keys = set[str]()
    for table in tables:
        pip = table.get("pip")
        keys.update(table, pip if isinstance(pip, dict) else ())
    return _Configured(
        index=any(environ.get(name) for name in _INDEX_VARIABLES) or not keys.isdisjoint(_INDEX_KEYS),
        find_links=bool(environ.get("UV_FIND_LINKS")) or "find-links" in keys,
    )


# --- uv's environment variables and arguments ------------------------------------------------------------------------


def environment(environ: Mapping[str, str], pip_options: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for uv: the user's, and pip's options where uv has no setting of its own.

    :param environ: the user's variables.
    :param pip_options: see :func:`.pip_config.read`.
    """
    env = {key: value for key, value in environ.items() if key not in _DROPPED_VARIABLES}
    for option, variable in _PIP_OPTION_VARIABLES.items():
        if option in pip_options:
            env.setdefault(variable, pip_options[option])
    if "cert" in pip_options:
        env.setdefault("SSL_CERT_FILE", pip_options["cert"])
    # pip's HTTP library reads these: requests.Session.merge_environment_settings.
    bundle = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    if bundle and not environ.get("SSL_CERT_DIR"):
        env.setdefault("SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE", bundle)
    if "proxy" in pip_options:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            if not (environ.get(name) or environ.get(name.lower())):
                env[name] = pip_options["proxy"]
    if is_true(pip_options.get("pre")):
        env.setdefault("UV_PRERELEASE", "allow")
    if pip_options.get("keyring-provider") == "subprocess":
        env.setdefault("UV_KEYRING_PROVIDER", "subprocess")
    # pip takes the best version of all indexes; uv stops at the first index that has the name.
    if "extra-index-url" in pip_options and not any(environ.get(name) for name in _INDEX_VARIABLES):
        env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    # Interpreters come from the providers only.
    env["UV_PYTHON_DOWNLOADS"] = "never"
    # uv would wrap its messages at the terminal's width. They are matched and shown as they are.
    env.pop("COLUMNS", None)
    return env


def arguments(
    settings: InstallSettings,
    environ: Mapping[str, str],
    pip_options: Mapping[str, str],
    *,
    project: Path | None = None,
) -> list[str]:
    """Return the arguments of ``uv pip install`` and ``uv pip compile`` that configure where packages come from.

    :param settings: the command line's.
    :param environ: the user's variables.
    :param pip_options: see :func:`.pip_config.read`.
    :param project: a directory without configuration, in which uv looks for its project. It hides the configuration of
        the project in the current directory, except for where packages come from. ``None`` leaves it in force.
    """
    here = Path.cwd()
    configured = _configured(environ, here)
    result: list[str] = []
    if settings.offline:
        result.append("--offline")
    result += _index_arguments(settings, environ, {} if configured.index else pip_options)
    # An option on the command line hides uv's variable of the same name, so the variable's values are repeated.
    links = list(settings.find_links)
    if links:
        links += [link for link in environ.get("UV_FIND_LINKS", "").split(",") if link]
    if not configured.find_links:
        # pip warns about a missing directory and goes on; uv stops.
        links += [link for link in pip_options.get("find-links", "").split() if "://" in link or Path(link).exists()]
    for link in links:
        result += ["--find-links", link]
    for option, argument, variable in (
        ("constraint", "--constraints", "UV_CONSTRAINT"),
        ("build-constraint", "--build-constraints", "UV_BUILD_CONSTRAINT"),
        ("only-binary", "--only-binary", "UV_NO_BUILD"),
        ("no-binary", "--no-binary", "UV_NO_BINARY"),
    ):
        if option in pip_options and not environ.get(variable):
            separators = r"[\s,]+" if option.endswith("binary") else r"\s+"
            for value in filter(None, re.split(separators, pip_options[option])):
                result += [argument, value]
    if project is not None:
        if found := find_project(environ, here):
            taken = project_arguments(environ, *found)
            result += _without_default_index(taken) if settings.index is not None else taken
        result += ["--project", str(project)]
    return result


def _index_arguments(
    settings: InstallSettings, environ: Mapping[str, str], pip_options: Mapping[str, str]
) -> list[str]:
    result: list[str] = []
    default = settings.index if settings.index is not None else pip_options.get("index-url")
    extra = list(settings.extra_index)
    if extra:
        extra += environ.get("UV_INDEX", "").split()
    extra += pip_options.get("extra-index-url", "").split()
    if default is not None:
        result += ["--default-index", default]
    for url in extra:
        result += ["--index", url]
    if is_true(pip_options.get("no-index")) and settings.index is None and not settings.extra_index:
        return ["--no-index"]
    return result


def _without_default_index(project_arguments: Sequence[str]) -> list[str]:
    result: list[str] = []
    remaining = iter(project_arguments)
    for option in remaining:
        if option == "--no-index":
            continue
        value = next(remaining)
        if option not in ("--default-index", "--index-url"):
            result += [option, value]
    return result

"""WHL219: the import names that METADATA declares (PEP 794), compared with the modules of the wheel."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.utils import canonicalize_name

from pytest_wheelcheck.checks.check import Advice, first_names
from pytest_wheelcheck.checks.contents import Contents


def declared_names(contents: Contents) -> Iterator[str | Advice]:
    """Find names in METADATA that cannot be imported, and modules whose names METADATA does not declare."""
    names, namespaces = (_values(contents, field) for field in ("import-name", "import-namespace"))
    if names is None and namespaces is None:
        return
    wheel = contents.wheel
    importable = _importable(contents)
    for field, declared in (("Import-Name", names or {}), ("Import-Namespace", namespaces or {})):
        for name in filter(None, declared):
            if name in importable:
                continue
            message = f"METADATA declares {field}: {name}, but the wheel has no such module"
            # The name must be importable on some platform, which another wheel of the release may be for.
            elsewhere = any(
                canonicalize_name(other.name) == canonicalize_name(wheel.name)
                and name.partition(".")[0] in other.top_levels
                for other in contents.release
            )
            is_top = "." not in name
            yield Advice(f"{message}; another wheel of the release has it") if elsewhere and is_top else message
    covered = {name.partition(".")[0] for name in (*(names or {}), *(namespaces or {}))}
    # Names with an underscore are private.
    if missing := [name for name in wheel.top_levels if name not in covered and not name.startswith("_")]:
        yield Advice(f"the wheel has {first_names(missing)}, which no Import-Name of METADATA declares")


def _values(contents: Contents, field: str) -> dict[str, None] | None:
    """Return the names in a field without ``; private``, in their order; ``None`` if METADATA does not have it.

    :param field: its name in lower case.
    """
    fields, unparsed = contents.metadata
    # An empty field declares that there is no name. Versions of packaging before 26 do not know the fields.
    values = dict(fields).get(f"{field.replace('-', '_')}s", unparsed.get(field))
    if not isinstance(values, list):
        return None
    return dict.fromkeys(str(value).partition(";")[0].strip() for value in values)


def _importable(contents: Contents) -> set[str]:
    """Return the dotted names of all modules, packages and namespace packages of the wheel."""
    names = {*contents.wheel.import_names, *contents.wheel.extension_modules}
    for path in contents.installed:
        *parents, filename = path.split("/")
        stem, dot, suffix = filename.rpartition(".")
        if dot and suffix in {"py", "pyc"}:
            names.add(".".join(parents if stem == "__init__" else [*parents, stem]))
    for name in list(names):
        parts = name.split(".")
        names |= {".".join(parts[:length]) for length in range(1, len(parts))}
    return names

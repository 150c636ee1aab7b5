"""Classes for the warnings of targets, made from their names alone: the real ones are the user's and stay there.

pytest-xdist sends a warning from its workers to its controller as the name of its class and module, and imports the
module there. So the module has to be this one, and every name has to be in it.
"""

from __future__ import annotations


def __getattr__(name: str) -> type[Warning]:
    """Make the class of that name, once."""
    if name.startswith("__"):
        raise AttributeError(name)
    made = globals()[name] = type(name, (UserWarning,), {"__module__": __name__})
    return made

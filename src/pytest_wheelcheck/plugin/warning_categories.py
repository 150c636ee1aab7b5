"""Classes for the warnings of targets, built from their names alone: the real classes are the user's and stay there.

pytest-xdist sends a warning from a worker to the controller as the name of its class and module, imports the module and
reads the class from it (``xdist.workermanage.unserialize_warning_message``). So the classes need a module that the host
can import, and every name must be in it.
"""

from __future__ import annotations


def __getattr__(name: str) -> type[Warning]:
    """Build the class of that name."""
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (UserWarning,), {"__module__": __name__})

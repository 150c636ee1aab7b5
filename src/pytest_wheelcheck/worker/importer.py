"""The task ``imports``: import everything that a wheel offers.

No test tool is on ``sys.path`` yet, so that a dependency which the wheel does not declare is missed.
"""

from __future__ import annotations

from .channel import ImportDoneError
from .observer import Observer, imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import messages
    from .channel import Channel


def run_imports(channel: Channel, task: messages.Imports) -> None:
    """Import everything that the task names.

    On a platform without ``fork`` this process does all jobs of the task, and the controller adds what it observes of it.

    :raises ImportDoneError: this process has done its imports, or is a child that has.
    """
    if task["fork"]:
        from .import_forks import fork_imports

        fork_imports(channel, task)
        return
    import faulthandler

    faulthandler.enable(file=2)
    observer = Observer(task)
    for job in task["jobs"]:
        watchdog = task["watchdog"]
        if watchdog:
            faulthandler.dump_traceback_later(min(watchdog, 0.9 * task["limit"]) if job["after"] else watchdog, file=2)
        result = observer.import_one(job)
        channel.send(imported(job, result, status=0, timed_out=False, output=""))
        if result["error"] is not None and not job["after"]:
            break  # Its modules cannot be imported, either.
    raise ImportDoneError

"""Windows job objects: they hold a program and everything that it starts, so that all of it can be ended.

The system ends the processes of a job when the last handle to it is closed, so also when this process is killed.
Source: "Job Objects" in Microsoft's documentation of processes and threads. On other systems this module is empty.
"""

from __future__ import annotations

import sys
import weakref

if sys.platform == "win32":
    import ctypes
    import subprocess
    from ctypes import wintypes

    #: Creation flag CREATE_SUSPENDED: the program waits until :func:`assign` has put it into its job. A program that
    #: runs earlier could start children outside the job.
    SUSPENDED = 0x00000004

    #: Information classes, and the limit JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE (``winnt.h``).
    _PROCESS_IDS, _EXTENDED_LIMITS = 3, 9
    _KILL_ON_CLOSE = 0x00002000

    #: PROCESS_QUERY_LIMITED_INFORMATION: the access right to query a process's executable.
    _QUERY = 0x1000

    #: The program that the system itself starts for a program with a console.
    _CONSOLE_HOST = "conhost.exe"

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _native = ctypes.WinDLL("ntdll")
    _kernel.CreateJobObjectW.restype = wintypes.HANDLE
    _kernel.CreateJobObjectW.argtypes = (ctypes.c_void_p, wintypes.LPCWSTR)
    _kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
    _kernel.QueryInformationJobObject.argtypes = (
        *(wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD),
        ctypes.c_void_p,
    )
    _kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    _kernel.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
    _kernel.OpenProcess.restype = wintypes.HANDLE
    _kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    _kernel.QueryFullProcessImageNameW.argtypes = (
        *(wintypes.HANDLE, wintypes.DWORD, wintypes.LPWSTR),
        ctypes.c_void_p,
    )
    _kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    _native.NtResumeProcess.argtypes = (wintypes.HANDLE,)

    class _BasicLimits(ctypes.Structure):
        """``JOBOBJECT_BASIC_LIMIT_INFORMATION``."""

        _fields_ = (
            ("process_time", ctypes.c_int64),
            ("job_time", ctypes.c_int64),
            ("flags", wintypes.DWORD),
            ("minimum_memory", ctypes.c_size_t),
            ("maximum_memory", ctypes.c_size_t),
            ("processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("priority", wintypes.DWORD),
            ("scheduling", wintypes.DWORD),
        )

    class _Limits(ctypes.Structure):
        """``JOBOBJECT_EXTENDED_LIMIT_INFORMATION``."""

        _fields_ = (
            ("basic", _BasicLimits),
            ("counters", ctypes.c_uint64 * 6),
            ("memory", ctypes.c_size_t * 4),
        )

    class _Identifiers(ctypes.Structure):
        """``JOBOBJECT_BASIC_PROCESS_ID_LIST``, with room for 256 process ids."""

        _fields_ = (("assigned", wintypes.DWORD), ("listed", wintypes.DWORD), ("pids", ctypes.c_size_t * 256))

    #: The job of each program that still has a ``Popen`` object: a handle that no public attribute of it can hold.
    _jobs: weakref.WeakKeyDictionary[subprocess.Popen[bytes], int] = weakref.WeakKeyDictionary()

    def assign(process: subprocess.Popen[bytes]) -> None:
        """Put a suspended program into a job of its own and resume it.

        If the system refuses the job, the program runs without one; then its children cannot be ended with it.
        """
        handle = int(process._handle)  # type: ignore[attr-defined]  # noqa: SLF001  subprocess has no public way to it
        job = _kernel.CreateJobObjectW(None, None)
        if job:
            limits = _Limits(basic=_BasicLimits(flags=_KILL_ON_CLOSE))
            _kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
            if _kernel.AssignProcessToJobObject(job, handle):
                _jobs[process] = job
                weakref.finalize(process, _kernel.CloseHandle, job)
            else:
                _kernel.CloseHandle(job)
        _native.NtResumeProcess(handle)

    def list_processes(process: subprocess.Popen[bytes], *, exclude_pid: int | None) -> list[str]:
        """List the processes in a program's job, without the program itself, as process id and path.

        :param exclude_pid: another process id to leave out.
        """
        found = _Identifiers()
        job = _jobs.get(process)
        if not job:
            return []
        _kernel.QueryInformationJobObject(job, _PROCESS_IDS, ctypes.byref(found), ctypes.sizeof(found), None)
        names = []
        for pid in found.pids[: found.listed]:
            handle = None if pid in (process.pid, exclude_pid) else _kernel.OpenProcess(_QUERY, False, pid)  # noqa: FBT003
            if handle:
                path = ctypes.create_unicode_buffer(1024)
                size = wintypes.DWORD(len(path))
                _kernel.QueryFullProcessImageNameW(handle, 0, path, ctypes.byref(size))
                _kernel.CloseHandle(handle)
                if not path.value.lower().endswith(_CONSOLE_HOST):
                    names.append(f"{pid} {path.value}")
        return names

    def terminate(process: subprocess.Popen[bytes]) -> None:
        """End a program and everything that it started."""
        job = _jobs.get(process)
        if job:
            _kernel.TerminateJobObject(job, 1)

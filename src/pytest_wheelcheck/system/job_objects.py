"""Job objects: what a program on Windows is put into, with everything that it starts, so that all of it can be ended.

The system ends a job when the last handle to it is closed, so also when this process is killed. Source: «Job Objects»
in Microsoft's documentation of processes and threads. There is nothing here on other systems.
"""

from __future__ import annotations

import sys
import weakref

if sys.platform == "win32":
    import ctypes
    import subprocess
    from ctypes import wintypes

    #: A flag for starting a program: it waits until :func:`assign` has put it where its children will be, too.
    SUSPENDED = 0x00000004

    #: Kinds of information, and the one limit that is set (``winnt.h``).
    _PROCESS_IDS, _EXTENDED_LIMITS = 3, 9
    _KILL_ON_CLOSE = 0x00002000

    #: The right to ask a process for its program: PROCESS_QUERY_LIMITED_INFORMATION.
    _QUERY = 0x1000

    #: What the system itself puts beside a program that writes to a console.
    _SYSTEM = "conhost.exe"

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
            ("least_memory", ctypes.c_size_t),
            ("most_memory", ctypes.c_size_t),
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
        """``JOBOBJECT_BASIC_PROCESS_ID_LIST``, with room for some."""

        _fields_ = (("all", wintypes.DWORD), ("here", wintypes.DWORD), ("numbers", ctypes.c_size_t * 256))

    _jobs: weakref.WeakKeyDictionary[subprocess.Popen[bytes], int] = weakref.WeakKeyDictionary()

    def assign(process: subprocess.Popen[bytes]) -> None:
        """Put a suspended program into a job of its own, and let it go on.

        Where the system refuses, the program runs without; then only itself is ended.
        """
        handle = int(process._handle)  # type: ignore[attr-defined]  # noqa: SLF001  there is no other way to it
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
        """Name what runs in the job of a program, without the program itself: number and path.

        :param exclude_pid: number of a process that does not count.
        """
        found = _Identifiers()
        job = _jobs.get(process)
        if not job:
            return []
        _kernel.QueryInformationJobObject(job, _PROCESS_IDS, ctypes.byref(found), ctypes.sizeof(found), None)
        names = []
        for number in found.numbers[: found.here]:
            handle = None if number in (process.pid, exclude_pid) else _kernel.OpenProcess(_QUERY, False, number)  # noqa: FBT003
            if handle:
                path = ctypes.create_unicode_buffer(1024)
                size = wintypes.DWORD(len(path))
                _kernel.QueryFullProcessImageNameW(handle, 0, path, ctypes.byref(size))
                _kernel.CloseHandle(handle)
                if not path.value.lower().endswith(_SYSTEM):
                    names.append(f"{number} {path.value}")
        return names

    def terminate(process: subprocess.Popen[bytes]) -> None:
        """End a program and everything that it started."""
        job = _jobs.get(process)
        if job:
            _kernel.TerminateJobObject(job, 1)

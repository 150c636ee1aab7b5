//! The Python API: each function converts its arguments, releases the interpreter and calls Rust.

use std::io;
use std::num::NonZeroUsize;
#[cfg(any(unix, windows))]
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyMemoryError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::facts::Facts;
use crate::misbehave::Kind;
use crate::{atomics, threads};

/// Convert a failed system call to a Python exception: `OSError`, with `errno` if the error has a number.
fn from_io(error: io::Error) -> PyErr {
    let text = error.to_string();
    match (error.raw_os_error(), error.kind()) {
        (Some(number), _) => {
            // Python appends the number itself.
            let suffix = format!(" (os error {number})");
            let text = text.strip_suffix(&suffix).unwrap_or(&text).to_owned();
            // The constructor selects the subclass by the number: FileNotFoundError, TimeoutError, ...
            // On Windows it is the fourth argument, from which Python derives `errno`.
            if cfg!(windows) {
                PyOSError::new_err((0, text, None::<String>, number))
            } else {
                PyOSError::new_err((number, text))
            }
        }
        (_, io::ErrorKind::InvalidInput) => PyValueError::new_err(text),
        (_, io::ErrorKind::OutOfMemory) => PyMemoryError::new_err(text),
        _ => PyOSError::new_err(text),
    }
}

fn at_least_one(threads: usize) -> PyResult<NonZeroUsize> {
    NonZeroUsize::new(threads).ok_or_else(|| PyValueError::new_err("threads must be 1 or more"))
}

/// Return the properties of the machine that runs this interpreter.
#[pyfunction]
pub fn facts() -> Facts {
    Facts::gather()
}

/// Sum the numbers from 0 to n - 1 on native threads while the interpreter is released.
#[pyfunction]
#[pyo3(signature = (n, threads = 2))]
pub fn parallel_sum(py: Python<'_>, n: u64, threads: usize) -> PyResult<u128> {
    let threads = at_least_one(threads)?;
    py.detach(|| threads::parallel_sum(n, threads))
        .map_err(from_io)
}

/// Call `callback(number)` once on each of several native threads, and return the results.
#[pyfunction]
#[pyo3(signature = (callback, threads = 1))]
pub fn call_from_threads(
    py: Python<'_>,
    callback: Py<PyAny>,
    threads: usize,
) -> PyResult<Vec<Py<PyAny>>> {
    let threads = at_least_one(threads)?;
    let call = |number: usize| {
        Python::try_attach(|py| callback.call1(py, (number,))).unwrap_or_else(|| {
            Err(PyRuntimeError::new_err(
                "the interpreter accepts no more threads",
            ))
        })
    };
    py.detach(|| threads::on_each(threads, call))
        .map_err(from_io)?
        .into_iter()
        .collect()
}

/// Add 1 to one counter `times` times on each of several threads, and return the counter.
#[pyfunction]
#[pyo3(signature = (times, threads = 2))]
pub fn atomic_add(py: Python<'_>, times: usize, threads: usize) -> PyResult<usize> {
    let threads = at_least_one(threads)?;
    py.detach(|| atomics::add(times, threads)).map_err(from_io)
}

/// Add with one LSE instruction. A CPU without LSE raises SIGILL.
#[cfg(target_arch = "aarch64")]
#[pyfunction]
#[pyo3(signature = (left = 40, right = 2))]
pub fn lse_add(left: u64, right: u64) -> u64 {
    atomics::lse_add(left, right)
}

/// Add with AVX2 instructions. A CPU without AVX2 raises SIGILL.
#[cfg(target_arch = "x86_64")]
#[pyfunction]
#[pyo3(signature = (left = 40, right = 2))]
pub fn avx2_add(left: u32, right: u32) -> u32 {
    atomics::avx2_add(left, right)
}

/// Protect memory in pieces of `page_size_assumed` bytes: `OSError` if the real page is larger.
#[cfg(unix)]
#[pyfunction]
pub fn page_aligned(page_size_assumed: usize) -> PyResult<()> {
    crate::memory::page_aligned(page_size_assumed).map_err(from_io)
}

/// Send `text` through a pseudo-terminal in raw mode, and return the received text.
#[cfg(unix)]
#[pyfunction]
pub fn pty_round_trip(py: Python<'_>, text: String) -> PyResult<String> {
    let arrived = py
        .detach(|| crate::pty::round_trip(text.as_bytes()))
        .map_err(from_io)?;
    Ok(String::from_utf8(arrived)?)
}

/// Set the window size at one end of a pseudo-terminal, and return the size at the other end.
#[cfg(unix)]
#[pyfunction]
pub fn pty_size(rows: u16, cols: u16) -> PyResult<(u16, u16)> {
    crate::pty::size(rows, cols).map_err(from_io)
}

/// Run a program on a new pseudo-terminal, and return its output.
#[cfg(unix)]
#[pyfunction]
#[pyo3(signature = (argv, timeout = 60.0))]
pub fn pty_spawn(py: Python<'_>, argv: Vec<std::ffi::OsString>, timeout: f64) -> PyResult<String> {
    let timeout = std::time::Duration::try_from_secs_f64(timeout)
        .map_err(|error| PyValueError::new_err(format!("timeout: {error}")))?;
    let output = py
        .detach(|| crate::pty::spawn(&argv, timeout))
        .map_err(from_io)?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

#[cfg(windows)]
use crate::conpty as terminal;
#[cfg(unix)]
use crate::pty as terminal;

/// A program on a new pseudo-terminal (on Windows a pseudo console), in separate calls: `spawn`, `write`, `read`.
#[cfg(any(unix, windows))]
#[pyclass(frozen)]
pub struct Session {
    program: Mutex<Option<terminal::Session>>,
}

#[cfg(any(unix, windows))]
impl Session {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut terminal::Session) -> io::Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
            program.as_mut().map(call)
        })
        .ok_or_else(|| PyRuntimeError::new_err("the session has not been started"))?
        .map_err(from_io)
    }
}

#[cfg(any(unix, windows))]
#[pymethods]
impl Session {
    /// Nothing is opened yet.
    #[new]
    fn new() -> Self {
        Self {
            program: Mutex::new(None),
        }
    }

    /// Open a pseudo-terminal and start a program on it.
    #[pyo3(signature = (argv, rows = 24, cols = 80))]
    fn spawn(
        &self,
        py: Python<'_>,
        argv: Vec<std::ffi::OsString>,
        rows: u16,
        cols: u16,
    ) -> PyResult<()> {
        let started = py
            .detach(|| terminal::Session::spawn(&argv, rows, cols))
            .map_err(from_io)?;
        *self.program.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
        Ok(())
    }

    /// Write text to the program's input.
    fn write(&self, py: Python<'_>, text: String) -> PyResult<()> {
        self.with(py, |program| program.write(text.as_bytes()))
    }

    /// Return what the program wrote since the last call; wait for it.
    #[pyo3(signature = (timeout = 10.0))]
    fn read(&self, py: Python<'_>, timeout: f64) -> PyResult<String> {
        let timeout = std::time::Duration::try_from_secs_f64(timeout)
            .map_err(|error| PyValueError::new_err(format!("timeout: {error}")))?;
        let output = self.with(py, |program| program.read(timeout))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

/// Do something that no extension module should do: one of `KINDS`.
#[pyfunction]
#[pyo3(signature = (kind, size = None))]
pub fn misbehave(py: Python<'_>, kind: &str, size: Option<usize>) -> PyResult<()> {
    let kind = Kind::from_name(kind).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        PyValueError::new_err(format!(
            "unknown kind {kind:?}; known here: {}",
            known.join(", ")
        ))
    })?;
    if kind.releases_the_interpreter() {
        py.detach(|| kind.perform(size))
    } else {
        kind.perform(size)
    }
    .map_err(from_io)
}

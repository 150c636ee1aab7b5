//! The witness reports the properties of the machine that runs a Python interpreter, and misbehaves on request.
//!
//! There is one file for each topic. Only [`bindings`] and the types of [`facts`] depend on Python.

mod atomics;
mod bindings;
#[cfg(windows)]
mod conpty;
mod cpu;
mod facts;
mod memory;
mod misbehave;
mod os;
#[cfg(unix)]
mod pty;
mod threads;

/// The names that the Python package exports. Functions that a platform does not support are missing there.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    #[cfg(any(unix, windows))]
    #[pymodule_export]
    use crate::bindings::Session;
    #[cfg(target_arch = "x86_64")]
    #[pymodule_export]
    use crate::bindings::avx2_add;
    #[cfg(target_arch = "aarch64")]
    #[pymodule_export]
    use crate::bindings::lse_add;
    #[pymodule_export]
    use crate::bindings::{atomic_add, call_from_threads, facts, misbehave, parallel_sum};
    #[cfg(unix)]
    #[pymodule_export]
    use crate::bindings::{page_aligned, pty_round_trip, pty_size, pty_spawn};

    /// Environment variable: the kind of misbehavior that `import` performs.
    const AT_IMPORT: &str = "WHEELCHECK_WITNESS_IMPORT";

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let kinds = crate::misbehave::Kind::ALL.iter().map(|kind| kind.name());
        module.add("KINDS", PyTuple::new(module.py(), kinds)?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        if let Some(kind) = std::env::var_os(AT_IMPORT).filter(|kind| !kind.is_empty()) {
            crate::bindings::misbehave(module.py(), &kind.to_string_lossy(), None)?;
        }
        Ok(())
    }
}

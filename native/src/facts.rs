//! The properties of the machine that runs the interpreter.

use pyo3::IntoPyObject;

use crate::{cpu, os};

/// A `dict` in Python, with these keys.
#[derive(IntoPyObject)]
pub struct Facts {
    /// The architecture that the module was compiled for, with Rust's name: `aarch64`, `x86_64`, `arm`, `x86`, ...
    architecture: &'static str,
    /// The machine as `uname -m` prints it.
    machine: String,
    page_size: usize,
    cpu_features: Vec<&'static str>,
    /// `glibc`, `musl`, `msvcrt`, `ucrt`, or empty for the system's own library (macOS).
    libc: &'static str,
    /// Empty if the C library does not provide it.
    libc_version: String,
    pointer_width: u32,
    endianness: &'static str,
    pid: u32,
    /// The version of PyO3 that the module was built with.
    pyo3: &'static str,
}

impl Facts {
    pub fn gather() -> Self {
        let (libc, libc_version) = os::libc();
        Self {
            architecture: std::env::consts::ARCH,
            machine: os::machine(),
            page_size: os::page_size(),
            cpu_features: cpu::features(),
            libc,
            libc_version,
            pointer_width: usize::BITS,
            endianness: if cfg!(target_endian = "big") {
                "big"
            } else {
                "little"
            },
            pid: std::process::id(),
            pyo3: locked_version("pyo3"),
        }
    }
}

/// The version of a dependency in `Cargo.lock`, which Cargo built; empty if it is not listed.
fn locked_version(name: &str) -> &'static str {
    let mut lines = include_str!("../Cargo.lock").lines();
    let wanted = format!("name = \"{name}\"");
    lines
        .find(|line| *line == wanted)
        .and_then(|_| lines.next())
        .and_then(|line| line.strip_prefix("version = \""))
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or_default()
}

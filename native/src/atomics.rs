//! Atomic instructions, and instructions that some CPUs lack.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::threads::on_each;

/// Add 1 to one counter, `times` times on each thread, and return it.
pub fn add(times: usize, threads: NonZeroUsize) -> io::Result<usize> {
    let counter = AtomicUsize::new(0);
    on_each(threads, |_| {
        for _ in 0..times {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    Ok(counter.into_inner())
}

/// `left + right` with one LSE instruction (Armv8.1). A CPU without LSE raises SIGILL.
#[cfg(target_arch = "aarch64")]
pub fn lse_add(left: u64, right: u64) -> u64 {
    #[target_feature(enable = "lse")]
    unsafe fn add(sum: &mut u64, right: u64) {
        // SAFETY: the instruction changes only the value that `sum` borrows.
        unsafe {
            core::arch::asm!(
                "ldadd {right}, {before}, [{sum}]",
                right = in(reg) right,
                before = out(reg) _,
                sum = in(reg) sum,
                options(nostack, preserves_flags),
            );
        }
    }
    let mut sum = left;
    // SAFETY: without LSE the process dies here, as documented.
    unsafe { add(&mut sum, right) };
    sum
}

/// `left + right` in a 256-bit register. A CPU without AVX2 raises SIGILL.
#[cfg(target_arch = "x86_64")]
pub fn avx2_add(left: u32, right: u32) -> u32 {
    #[target_feature(enable = "avx2")]
    unsafe fn add(left: u32, right: u32) -> u32 {
        let sum: u32;
        // SAFETY: only the registers named here change.
        unsafe {
            core::arch::asm!(
                "vmovd {x:x}, {left:e}",
                "vmovd {y:x}, {right:e}",
                "vpbroadcastd {x:y}, {x:x}",
                "vpbroadcastd {y:y}, {y:x}",
                "vpaddd {x:y}, {x:y}, {y:y}",
                "vmovd {sum:e}, {x:x}",
                "vzeroupper",
                left = in(reg) left,
                right = in(reg) right,
                sum = lateout(reg) sum,
                x = out(ymm_reg) _,
                y = out(ymm_reg) _,
                options(nomem, nostack, preserves_flags),
            );
        }
        sum
    }
    // SAFETY: without AVX2 the process dies here, as documented.
    unsafe { add(left, right) }
}

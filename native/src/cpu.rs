//! CPU features, from the CPU itself (CPUID) or from the kernel (HWCAP).

/// The features of this CPU, with Rust's names, in the order below; empty if they cannot be detected.
pub fn features() -> Vec<&'static str> {
    detected()
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! detect {
    ($detect:ident: $($name:tt)*) => {
        vec![$(($name, std::arch::$detect!($name))),*]
    };
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn detected() -> Vec<(&'static str, bool)> {
    let mut found = detect!(is_x86_feature_detected:
        "sse2" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "aes" "pclmulqdq" "sha" "rdrand" "rdseed"
        "movbe" "lzcnt" "bmi1" "bmi2" "f16c" "fma" "avx" "avx2"
    );
    found.extend(avx512());
    found
}

/// From CPUID. Rust's own detection has them since 1.89 only.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[allow(
    unused_unsafe,
    reason = "these functions are safe in newer versions of Rust"
)]
fn avx512() -> [(&'static str, bool); 7] {
    #[cfg(target_arch = "x86")]
    use std::arch::x86 as cpu;
    #[cfg(target_arch = "x86_64")]
    use std::arch::x86_64 as cpu;

    /// The bits of XCR0 that the system sets if it saves complete 512-bit registers.
    const SAVED: u64 = 0b1110_0110;

    #[target_feature(enable = "xsave")]
    unsafe fn saved() -> u64 {
        // SAFETY: the instruction is part of the enabled feature.
        unsafe { cpu::_xgetbv(0) }
    }

    // SAFETY: every CPU with AVX has CPUID, and the system has enabled XGETBV.
    let usable = std::arch::is_x86_feature_detected!("avx")
        && unsafe { cpu::__cpuid(0).eax >= 7 && saved() & SAVED == SAVED };
    let (ebx, ecx) = if usable {
        // SAFETY: leaf 0 showed that this leaf exists.
        let leaf = unsafe { cpu::__cpuid_count(7, 0) };
        (leaf.ebx, leaf.ecx)
    } else {
        (0, 0)
    };
    let bit = |register: u32, number: u32| register >> number & 1 == 1;
    [
        ("avx512f", bit(ebx, 16)),
        ("avx512bw", bit(ebx, 30)),
        ("avx512cd", bit(ebx, 28)),
        ("avx512dq", bit(ebx, 17)),
        ("avx512vl", bit(ebx, 31)),
        ("avx512vbmi", bit(ecx, 1)),
        ("avx512vnni", bit(ecx, 11)),
    ]
}

#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<(&'static str, bool)> {
    detect!(is_aarch64_feature_detected:
        "neon" "aes" "sha2" "sha3" "crc" "lse" "lse2" "rdm" "dotprod" "fp16" "fhm" "fcma" "jsconv"
        "rcpc" "rcpc2" "dpb" "dpb2" "i8mm" "bf16" "paca" "pacg" "bti" "dit" "sb" "ssbs" "flagm"
        "frintts" "rand" "mte" "sve" "sve2" "f32mm" "f64mm"
    )
}

/// From HWCAP: bit 0 is the extension A, bit 2 is C, and so on.
#[cfg(all(target_arch = "riscv64", target_os = "linux"))]
fn detected() -> Vec<(&'static str, bool)> {
    // SAFETY: takes a number and returns one.
    let letters = unsafe { libc::getauxval(libc::AT_HWCAP) };
    ["i", "m", "a", "f", "d", "c", "v"]
        .into_iter()
        .map(|name| (name, letters >> (name.as_bytes()[0] - b'a') & 1 == 1))
        .collect()
}

#[cfg(not(any(
    target_arch = "x86",
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "riscv64", target_os = "linux")
)))]
fn detected() -> Vec<(&'static str, bool)> {
    Vec::new()
}

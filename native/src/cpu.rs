//! What the CPU can do, as it says itself (CPUID) or as the kernel says for it (HWCAP).

/// The features that this CPU has, by Rust's names and in the order below; empty where Rust cannot ask.
pub fn features() -> Vec<&'static str> {
    detected()
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
}

macro_rules! ask {
    ($detect:ident: $($name:tt)*) => {
        vec![$(($name, std::arch::$detect!($name))),*]
    };
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn detected() -> Vec<(&'static str, bool)> {
    ask!(is_x86_feature_detected:
        "sse2" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "aes" "pclmulqdq" "sha" "rdrand" "rdseed"
        "movbe" "lzcnt" "bmi1" "bmi2" "f16c" "fma" "avx" "avx2" "avxvnni" "vaes" "vpclmulqdq" "gfni"
        "avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl" "avx512vbmi" "avx512vnni" "avx512bf16"
    )
}

#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<(&'static str, bool)> {
    ask!(is_aarch64_feature_detected:
        "neon" "aes" "sha2" "sha3" "crc" "lse" "lse2" "rdm" "dotprod" "fp16" "fhm" "fcma" "jsconv"
        "rcpc" "rcpc2" "dpb" "dpb2" "i8mm" "bf16" "paca" "pacg" "bti" "dit" "sb" "ssbs" "flagm"
        "frintts" "rand" "mte" "sve" "sve2" "f32mm" "f64mm"
    )
}

#[cfg(target_arch = "riscv64")]
fn detected() -> Vec<(&'static str, bool)> {
    ask!(is_riscv_feature_detected: "m" "a" "f" "d" "c" "v" "zba" "zbb" "zbs")
}

#[cfg(not(any(
    target_arch = "x86",
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
fn detected() -> Vec<(&'static str, bool)> {
    Vec::new()
}

//! Information from the operating system.

pub use imp::{libc, machine, page_size};

#[cfg(unix)]
mod imp {
    use std::ffi::CStr;
    use std::mem::MaybeUninit;

    /// The machine as `uname -m` prints it; empty if the system does not provide it.
    pub fn machine() -> String {
        let mut names = MaybeUninit::<libc::utsname>::zeroed();
        // SAFETY: `uname` fills a struct of this type. Zeroed, it is valid already.
        let names = unsafe {
            libc::uname(names.as_mut_ptr());
            names.assume_init()
        };
        // SAFETY: every field of `utsname` ends with a NUL, also when it was left zeroed.
        let machine = unsafe { CStr::from_ptr(names.machine.as_ptr()) };
        machine.to_string_lossy().into_owned()
    }

    /// Size of a memory page in bytes; 0 if the system does not provide it.
    pub fn page_size() -> usize {
        // SAFETY: `sysconf` takes a number and returns one.
        usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or_default()
    }

    /// Name and version of the C library in this process.
    ///
    /// The function is looked up at run time, because a module that links to it could not be linked against musl.
    pub fn libc() -> (&'static str, String) {
        // SAFETY: the name ends with a NUL.
        let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"gnu_get_libc_version".as_ptr()) };
        if symbol.is_null() {
            let name = if cfg!(target_env = "musl") {
                "musl"
            } else {
                ""
            };
            return (name, String::new());
        }
        // SAFETY: glibc declares `const char *gnu_get_libc_version(void)` and returns a constant.
        let version = unsafe {
            let version = std::mem::transmute::<
                *mut libc::c_void,
                extern "C" fn() -> *const libc::c_char,
            >(symbol);
            CStr::from_ptr(version())
        };
        ("glibc", version.to_string_lossy().into_owned())
    }
}

#[cfg(windows)]
mod imp {
    use std::mem::MaybeUninit;

    /// `SYSTEM_INFO` of sysinfoapi.h.
    #[repr(C)]
    struct SystemInfo {
        processor_architecture: u16,
        reserved: u16,
        page_size: u32,
        minimum_application_address: *mut libc::c_void,
        maximum_application_address: *mut libc::c_void,
        active_processor_mask: usize,
        number_of_processors: u32,
        processor_type: u32,
        allocation_granularity: u32,
        processor_level: u16,
        processor_revision: u16,
    }

    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetNativeSystemInfo(info: *mut SystemInfo);
    }

    fn system_info() -> SystemInfo {
        let mut info = MaybeUninit::zeroed();
        // SAFETY: the function fills a struct of this layout. Zeroed, it is valid already.
        unsafe {
            GetNativeSystemInfo(info.as_mut_ptr());
            info.assume_init()
        }
    }

    /// The machine as `platform.machine()` returns it; empty if it is not in this list.
    pub fn machine() -> String {
        // The numbers are PROCESSOR_ARCHITECTURE_* of winnt.h.
        match system_info().processor_architecture {
            0 => "x86",
            5 => "ARM",
            9 => "AMD64",
            12 => "ARM64",
            _ => "",
        }
        .to_owned()
    }

    /// Size of a memory page in bytes.
    pub fn page_size() -> usize {
        system_info().page_size as usize
    }

    /// The C library that this module was linked with; it provides no version.
    pub fn libc() -> (&'static str, String) {
        let name = if cfg!(all(target_env = "gnu", not(target_abi = "llvm"))) {
            "msvcrt"
        } else {
            "ucrt"
        };
        (name, String::new())
    }
}

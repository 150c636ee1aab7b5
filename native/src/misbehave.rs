//! Misbehavior on request: things that no extension module should do.

use std::hint::black_box;
use std::io;
use std::time::Duration;

use crate::memory;

/// Generate the enum, its names and the list of all kinds from one table.
macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident = $name:literal,)*) => {
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$meta])* $kind,)*
        }

        impl Kind {
            /// Every kind that this platform has.
            pub const ALL: &[Self] = &[$($(#[$meta])* Self::$kind,)*];

            pub fn name(self) -> &'static str {
                match self {
                    $($(#[$meta])* Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    Panic = "panic",
    Segfault = "segfault",
    Abort = "abort",
    Illegal = "illegal",
    #[cfg(unix)]
    Bus = "bus",
    Fpe = "fpe",
    Stack = "stack",
    Hang = "hang",
    HangDetached = "hang-detached",
    Exit0 = "exit0",
    Exit5 = "exit5",
    #[cfg(unix)]
    Kill = "kill",
    Memory = "memory",
    Print = "print",
    CloseFds = "close-fds",
    AtexitHang = "atexit-hang",
    AtexitAbort = "atexit-abort",
}

impl Kind {
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether other Python threads run meanwhile.
    pub fn releases_the_interpreter(self) -> bool {
        self == Self::HangDetached
    }

    /// Misbehave. Returns only if the kind leaves the process alive.
    ///
    /// `size` is the number of bytes that [`Kind::Memory`] allocates; the others ignore it.
    pub fn perform(self, size: Option<usize>) -> io::Result<()> {
        match self {
            Self::Panic => panic!("the witness was asked to panic"),
            Self::Segfault => segfault(),
            Self::Abort => std::process::abort(),
            Self::Illegal => illegal(),
            #[cfg(unix)]
            Self::Bus => return bus(),
            // SAFETY: `raise` takes any number.
            Self::Fpe => drop(unsafe { libc::raise(libc::SIGFPE) }),
            Self::Stack => drop(overflow(0)),
            Self::Hang => loop {
                std::hint::spin_loop();
            },
            Self::HangDetached => sleep_forever(),
            Self::Exit0 => exit(0),
            Self::Exit5 => exit(5),
            #[cfg(unix)]
            // SAFETY: the own process, and a signal that it cannot catch.
            Self::Kill => drop(unsafe { libc::kill(libc::getpid(), libc::SIGKILL) }),
            Self::Memory => return memory::exhaust(size),
            Self::Print => return print(),
            Self::CloseFds => close_fds(),
            Self::AtexitHang => return at_exit(hang_at_exit),
            Self::AtexitAbort => return at_exit(abort_at_exit),
        }
        Ok(())
    }
}

fn segfault() {
    // SAFETY: none, on purpose. Through C, because Rust may assume that its own pointers are valid.
    unsafe { libc::memset(black_box(std::ptr::null_mut()), 1, 1) };
}

fn illegal() {
    // SAFETY: an instruction that every CPU of the architecture must reject.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    unsafe {
        core::arch::asm!("ud2");
    }
    // SAFETY: as above.
    #[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
    unsafe {
        core::arch::asm!("udf #0");
    }
    // SAFETY: as above.
    #[cfg(any(target_arch = "riscv64", target_arch = "riscv32"))]
    unsafe {
        core::arch::asm!("unimp");
    }
    // On architectures without one of the instructions above.
    // SAFETY: `raise` takes any number.
    unsafe { libc::raise(libc::SIGILL) };
}

/// Read a page of a mapping beyond the end of its file.
#[cfg(unix)]
fn bus() -> io::Result<()> {
    let page = crate::os::page_size();
    // SAFETY: a new file is mapped, and the mapping is read.
    unsafe {
        let file = libc::tmpfile();
        if file.is_null() {
            return Err(io::Error::last_os_error());
        }
        // Not empty, because some emulators refuse to map an empty file.
        if libc::ftruncate(libc::fileno(file), 1) < 0 {
            return Err(io::Error::last_os_error());
        }
        let start = libc::mmap(
            std::ptr::null_mut(),
            2 * page,
            libc::PROT_READ,
            libc::MAP_SHARED,
            libc::fileno(file),
            0,
        );
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        black_box(start.cast::<u8>().byte_add(page).read_volatile());
        // In case an emulator permits the read.
        libc::raise(libc::SIGBUS);
    }
    Ok(())
}

/// Recurse until the stack overflows.
#[expect(unconditional_recursion, reason = "the overflow is the purpose")]
fn overflow(depth: usize) -> usize {
    let frame = black_box([depth; 256]);
    overflow(depth + 1) + black_box(frame)[0]
}

fn sleep_forever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn exit(status: libc::c_int) -> ! {
    // SAFETY: takes any number. Nothing is flushed and no handler runs, on purpose.
    unsafe { libc::_exit(status) }
}

/// Write directly to the descriptors, not to Python's streams, with bytes that are not UTF-8.
fn print() -> io::Result<()> {
    for (number, text) in [
        (1, b"the witness prints on 1 \xff\0\n"),
        (2, b"the witness prints on 2 \xff\0\n"),
    ] {
        // SAFETY: pointer and length of one array.
        if unsafe { libc::write(number, text.as_ptr().cast(), text.len() as _) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn close_fds() {
    for number in 0..3 {
        // SAFETY: other code still uses the descriptors, on purpose.
        unsafe { libc::close(number) };
    }
}

fn at_exit(handler: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the handler is valid as long as this module, which Python never unloads.
    match unsafe { libc::atexit(handler) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

extern "C" fn hang_at_exit() {
    sleep_forever()
}

extern "C" fn abort_at_exit() {
    std::process::abort()
}

//! Pseudo-terminals: a pair, its size, and a program that runs on one.

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much is under way at once; every kernel's queue holds this much.
const CHUNK: usize = 512;
/// How long bytes may be under way inside the kernel. Generous, for emulated and busy machines.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How often a program that says nothing is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Turn -1 into the error that it stands for.
fn check(outcome: libc::c_int) -> io::Result<libc::c_int> {
    match outcome {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(outcome),
    }
}

/// Both ends: what a terminal emulator holds, and what a program takes for its terminal.
struct Pty {
    controller: File,
    terminal: File,
}

impl Pty {
    fn open() -> io::Result<Self> {
        /// `ptsname` answers in a buffer that all threads share; macOS had nothing else for long.
        static NAME: Mutex<()> = Mutex::new(());
        const FLAGS: libc::c_int = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;

        // SAFETY: takes flags and returns a descriptor, which nobody else owns.
        let controller = unsafe { File::from_raw_fd(check(libc::posix_openpt(FLAGS))?) };
        let number = controller.as_raw_fd();
        // SAFETY: a descriptor that is open.
        unsafe {
            check(libc::grantpt(number))?;
            check(libc::unlockpt(number))?;
        }
        let name = {
            let _alone = NAME.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: a descriptor that is open, and no other call of ours meanwhile.
            let name = unsafe { libc::ptsname(number) };
            if name.is_null() {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: not NULL, so a string that ends with a NUL.
            CString::from(unsafe { CStr::from_ptr(name) })
        };
        // SAFETY: the name ends with a NUL; the descriptor that comes back is nobody else's.
        let terminal = unsafe { File::from_raw_fd(check(libc::open(name.as_ptr(), FLAGS))?) };
        Ok(Self {
            controller,
            terminal,
        })
    }

    /// No echo, no line editing, no translation of line ends.
    fn make_raw(&self) -> io::Result<()> {
        let number = self.terminal.as_raw_fd();
        let mut modes = MaybeUninit::<libc::termios>::zeroed();
        // SAFETY: a descriptor that is open and a struct of the right type, filled before it is read.
        unsafe {
            check(libc::tcgetattr(number, modes.as_mut_ptr()))?;
            libc::cfmakeraw(modes.as_mut_ptr());
            check(libc::tcsetattr(number, libc::TCSANOW, modes.as_ptr()))?;
        }
        Ok(())
    }
}

/// Wait until `number` can be read. False when the time is over.
fn readable(number: RawFd, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond is spent spinning.
        let milliseconds = left.as_micros().div_ceil(1000);
        let mut asked = libc::pollfd {
            fd: number,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one struct, and the length says one.
        let ready = unsafe {
            libc::poll(
                &raw mut asked,
                1,
                libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX),
            )
        };
        match check(ready) {
            Ok(0) if deadline <= Instant::now() => return Ok(false),
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(libc::ETIMEDOUT)
}

/// Write to the controller, read at the terminal. In small pieces, since neither end has a reader of its own.
pub fn round_trip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut pty = Pty::open()?;
    pty.make_raw()?;
    let mut arrived = Vec::with_capacity(bytes.len());
    let mut piece = [0; CHUNK];
    for chunk in bytes.chunks(CHUNK) {
        pty.controller.write_all(chunk)?;
        let expected = arrived.len() + chunk.len();
        while arrived.len() < expected {
            if !readable(pty.terminal.as_raw_fd(), ARRIVAL)? {
                return Err(timed_out());
            }
            let count = pty.terminal.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            arrived.extend_from_slice(&piece[..count]);
        }
    }
    Ok(arrived)
}

/// Set the window size at the controller, read it at the terminal: rows, columns.
pub fn size(rows: u16, cols: u16) -> io::Result<(u16, u16)> {
    let pty = Pty::open()?;
    let wanted = libc::winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let mut found = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: descriptors that are open, and the struct that both requests work on.
    let found = unsafe {
        check(libc::ioctl(
            pty.controller.as_raw_fd(),
            libc::TIOCSWINSZ,
            &raw const wanted,
        ))?;
        check(libc::ioctl(
            pty.terminal.as_raw_fd(),
            libc::TIOCGWINSZ,
            found.as_mut_ptr(),
        ))?;
        found.assume_init()
    };
    Ok((found.ws_row, found.ws_col))
}

/// Run a program on a terminal of its own, and return what it wrote there.
///
/// `ETIMEDOUT` when it is not done in time; it is killed then, with all of its process group.
pub fn spawn(argv: &[OsString], timeout: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now().checked_add(timeout);
    let [program, arguments @ ..] = argv else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "argv needs a program at least",
        ));
    };
    let Pty {
        mut controller,
        terminal,
    } = Pty::open()?;
    let mut child = start(program, arguments, terminal.into())?;
    let outcome = listen(&mut controller, &mut child, deadline);
    if outcome.is_err() {
        // It leads a session, hence a group of its own number.
        if let Ok(group) = libc::pid_t::try_from(child.id()) {
            // SAFETY: not waited for yet, so the number is still this child's.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        child.wait()?;
    }
    outcome
}

fn start(program: &OsString, arguments: &[OsString], terminal: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(terminal.try_clone()?)
        .stdout(terminal.try_clone()?)
        .stderr(terminal);
    let lead = || {
        // SAFETY: both are plain system calls; 0 is the terminal by now.
        unsafe {
            check(libc::setsid())?;
            // The request's type differs between C libraries and systems.
            check(libc::ioctl(0, libc::TIOCSCTTY as _, 0))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec, `lead` makes system calls and nothing else.
    unsafe { command.pre_exec(lead) };
    // Our copies of the terminal's descriptor end with `command`, so that the reader sees the end.
    command.spawn()
}

/// Read until the child is gone and all it wrote has been read.
fn listen(
    controller: &mut File,
    child: &mut Child,
    deadline: Option<Instant>,
) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    let mut piece = [0; CHUNK];
    let mut open = true;
    loop {
        // Asked before reading: what it wrote before its end is in the queue by then.
        let gone = child.try_wait()?.is_some();
        let patience = if gone { Duration::ZERO } else { LOOK };
        if !open {
            std::thread::sleep(patience);
        } else if readable(controller.as_raw_fd(), patience)? {
            match controller.read(&mut piece) {
                Ok(0) => open = false,
                Ok(count) => output.extend_from_slice(&piece[..count]),
                // Linux says so when no process holds the terminal any more.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => open = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if gone && open {
                continue;
            }
        }
        if gone {
            return Ok(output);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(timed_out());
        }
    }
}

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

/// Bytes that are sent at once. The queue of every kernel is at least this large.
const CHUNK: usize = 512;
/// Timeout for bytes to pass through the kernel. Generous, for emulated and busy machines.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Interval between two checks of a program that writes nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Convert -1 to the error in `errno`.
fn check(outcome: libc::c_int) -> io::Result<libc::c_int> {
    match outcome {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(outcome),
    }
}

/// Both ends: the terminal emulator's and the program's.
struct Pty {
    controller: File,
    terminal: File,
}

impl Pty {
    fn open() -> io::Result<Self> {
        /// `ptsname` returns a buffer that all threads share; older macOS has no alternative.
        static NAME: Mutex<()> = Mutex::new(());
        const FLAGS: libc::c_int = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;

        // SAFETY: takes flags and returns a new descriptor, which nothing else owns.
        let controller = unsafe { File::from_raw_fd(check(libc::posix_openpt(FLAGS))?) };
        let number = controller.as_raw_fd();
        // SAFETY: an open descriptor.
        unsafe {
            check(libc::grantpt(number))?;
            check(libc::unlockpt(number))?;
        }
        let name = {
            let _guard = NAME.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: an open descriptor, and the lock prevents concurrent calls.
            let name = unsafe { libc::ptsname(number) };
            if name.is_null() {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: not NULL, therefore a string that ends with a NUL.
            CString::from(unsafe { CStr::from_ptr(name) })
        };
        // SAFETY: the name ends with a NUL; nothing else owns the returned descriptor.
        let terminal = unsafe { File::from_raw_fd(check(libc::open(name.as_ptr(), FLAGS))?) };
        Ok(Self {
            controller,
            terminal,
        })
    }

    /// Disable echo, line editing and the translation of line endings.
    fn make_raw(&self) -> io::Result<()> {
        let number = self.terminal.as_raw_fd();
        let mut modes = MaybeUninit::<libc::termios>::zeroed();
        // SAFETY: an open descriptor and a struct of the right type, filled before it is read.
        unsafe {
            check(libc::tcgetattr(number, modes.as_mut_ptr()))?;
            libc::cfmakeraw(modes.as_mut_ptr());
            check(libc::tcsetattr(number, libc::TCSANOW, modes.as_ptr()))?;
        }
        Ok(())
    }
}

/// Wait until `number` can be read. Returns false after the timeout.
fn readable(number: RawFd, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: otherwise the last millisecond is a busy loop.
        let milliseconds = left.as_micros().div_ceil(1000);
        let mut asked = libc::pollfd {
            fd: number,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one struct, and the length is one.
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

/// Write to the controller and read at the terminal, in small pieces, because no other thread reads.
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
    // SAFETY: open descriptors, and the struct type of both requests.
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

/// Run a program on a new terminal, and return its output.
///
/// `ETIMEDOUT` after the timeout; the program and its process group are then killed.
pub fn spawn(argv: &[OsString], timeout: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now().checked_add(timeout);
    let [program, arguments @ ..] = argv else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "argv is empty; it needs at least a program",
        ));
    };
    let Pty {
        mut controller,
        terminal,
    } = Pty::open()?;
    let mut child = start(program, arguments, terminal.into())?;
    let outcome = listen(&mut controller, &mut child, deadline);
    if outcome.is_err() {
        // It leads a session, so its process group has the same number.
        if let Ok(group) = libc::pid_t::try_from(child.id()) {
            // SAFETY: not waited for yet, so the number still belongs to this child.
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
        // SAFETY: both are plain system calls; descriptor 0 is already the terminal.
        unsafe {
            check(libc::setsid())?;
            // The type of the request differs between C libraries and systems.
            check(libc::ioctl(0, libc::TIOCSCTTY as _, 0))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec, `lead` makes system calls and nothing else.
    unsafe { command.pre_exec(lead) };
    // Dropping `command` closes our copies of the terminal's descriptor, so that the reader sees the end.
    command.spawn()
}

/// Read until the child has ended and all of its output has been read.
fn listen(
    controller: &mut File,
    child: &mut Child,
    deadline: Option<Instant>,
) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    let mut piece = [0; CHUNK];
    let mut open = true;
    loop {
        // Checked before reading: the output of an ended child is already in the queue.
        let gone = child.try_wait()?.is_some();
        let wait = if gone { Duration::ZERO } else { POLL_INTERVAL };
        if !open {
            std::thread::sleep(wait);
        } else if readable(controller.as_raw_fd(), wait)? {
            match controller.read(&mut piece) {
                Ok(0) => open = false,
                Ok(count) => output.extend_from_slice(&piece[..count]),
                // Linux reports this if no process has the terminal open.
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

/// A program on a terminal of its own.
pub struct Session {
    controller: File,
    child: Child,
}

impl Session {
    /// Open a terminal and start a program on it.
    pub fn spawn(argv: &[OsString], rows: u16, cols: u16) -> io::Result<Self> {
        let [program, arguments @ ..] = argv else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "argv is empty; it needs at least a program",
            ));
        };
        let Pty {
            controller,
            terminal,
        } = Pty::open()?;
        let wanted = libc::winsize {
            ws_row: rows,
            ws_col: cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: an open descriptor, and the struct type of the request.
        unsafe {
            check(libc::ioctl(
                controller.as_raw_fd(),
                libc::TIOCSWINSZ,
                &raw const wanted,
            ))?
        };
        let child = start(program, arguments, terminal.into())?;
        Ok(Self { controller, child })
    }

    /// Write to the program's input.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.controller.write_all(bytes)
    }

    /// Read what the program wrote; wait for it. `BrokenPipe` after the program has ended, `TimedOut` after the timeout.
    pub fn read(&mut self, timeout: Duration) -> io::Result<Vec<u8>> {
        if !readable(self.controller.as_raw_fd(), timeout)? {
            return Err(timed_out());
        }
        let mut piece = [0; CHUNK];
        match self.controller.read(&mut piece) {
            Ok(count) if count > 0 => Ok(piece[..count].to_vec()),
            Err(error) if error.raw_os_error() != Some(libc::EIO) => Err(error),
            _ => Err(io::Error::new(io::ErrorKind::BrokenPipe, "Pipe closed")),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

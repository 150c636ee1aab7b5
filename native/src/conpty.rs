//! A program on a pseudo console (ConPTY, Windows 10 1809 and later), in separate calls.

use std::ffi::{OsString, c_void};
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::size_of;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

/// Interval between two checks of a program that writes nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// `PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE` and `EXTENDED_STARTUPINFO_PRESENT` of `processthreadsapi.h`.
const PSEUDO_CONSOLE: usize = 0x0002_0016;
const EXTENDED_STARTUP_INFO: u32 = 0x0008_0000;
/// `STARTF_USESTDHANDLES`: with null handles, the program uses those of the console.
const USE_STD_HANDLES: u32 = 0x100;

type Create = unsafe extern "system" fn(u32, RawHandle, RawHandle, u32, *mut RawHandle) -> i32;
type Close = unsafe extern "system" fn(RawHandle);

#[repr(C)]
#[derive(Default)]
struct ProcessInformation {
    process: usize,
    thread: usize,
    process_id: u32,
    thread_id: u32,
}

/// `STARTUPINFOEXW`.
#[repr(C)]
struct StartupInfo {
    size: u32,
    names: [usize; 3],
    numbers: [u32; 7],
    flags: u32,
    show: u16,
    reserved_size: u16,
    reserved: usize,
    handles: [usize; 3],
    attributes: *mut c_void,
}

#[link(name = "kernel32")]
unsafe extern "system" {
    fn CreatePipe(
        read: *mut RawHandle,
        write: *mut RawHandle,
        security: *const c_void,
        size: u32,
    ) -> i32;
    fn CreateProcessW(
        program: *const u16,
        command_line: *mut u16,
        process_security: *const c_void,
        thread_security: *const c_void,
        inherit: i32,
        flags: u32,
        environment: *const c_void,
        directory: *const u16,
        startup: *const StartupInfo,
        information: *mut ProcessInformation,
    ) -> i32;
    fn GetModuleHandleW(name: *const u16) -> RawHandle;
    fn GetProcAddress(module: RawHandle, name: *const u8) -> *const c_void;
    fn InitializeProcThreadAttributeList(
        list: *mut c_void,
        count: u32,
        flags: u32,
        size: *mut usize,
    ) -> i32;
    fn PeekNamedPipe(
        pipe: RawHandle,
        buffer: *mut c_void,
        size: u32,
        read: *mut u32,
        available: *mut u32,
        left: *mut u32,
    ) -> i32;
    fn TerminateProcess(process: RawHandle, status: u32) -> i32;
    fn UpdateProcThreadAttribute(
        list: *mut c_void,
        flags: u32,
        attribute: usize,
        value: *const c_void,
        size: usize,
        previous: *mut c_void,
        returned: *mut usize,
    ) -> i32;
    fn WaitForSingleObject(object: RawHandle, milliseconds: u32) -> u32;
}

/// Convert a zero to the last error.
fn check(outcome: i32) -> io::Result<()> {
    match outcome {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Return a function of `kernel32.dll`; older systems do not have it. *name* ends with a NUL.
fn function(name: &[u8]) -> io::Result<*const c_void> {
    let library: Vec<u16> = "kernel32.dll\0".encode_utf16().collect();
    // SAFETY: both names end with a NUL, and this library is always loaded.
    let found = unsafe { GetProcAddress(GetModuleHandleW(library.as_ptr()), name.as_ptr()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    Ok(found)
}

/// Return the two ends of a new pipe: for reading, for writing.
fn pipe() -> io::Result<(OwnedHandle, OwnedHandle)> {
    let (mut read, mut write) = (null_mut(), null_mut());
    // SAFETY: both pointers are valid; on success nothing else owns the handles.
    unsafe {
        check(CreatePipe(&raw mut read, &raw mut write, null(), 0))?;
        Ok((
            OwnedHandle::from_raw_handle(read),
            OwnedHandle::from_raw_handle(write),
        ))
    }
}

/// A program and its pseudo console, which is closed with it.
pub struct Session {
    console: RawHandle,
    close: Close,
    input: File,
    output: File,
    process: OwnedHandle,
}

// SAFETY: a handle of a pseudo console may be used by every thread.
unsafe impl Send for Session {}

impl Session {
    /// Open a pseudo console and start a program on it.
    pub fn spawn(argv: &[OsString], rows: u16, cols: u16) -> io::Result<Self> {
        let create = function(b"CreatePseudoConsole\0")?;
        let close = function(b"ClosePseudoConsole\0")?;
        // SAFETY: the functions of these names have these types (`consoleapi.h`).
        let (create, close) = unsafe {
            (
                std::mem::transmute::<*const c_void, Create>(create),
                std::mem::transmute::<*const c_void, Close>(close),
            )
        };
        let (console_input, input) = pipe()?;
        let (output, console_output) = pipe()?;
        let mut console = null_mut();
        let size = u32::from(cols) | u32::from(rows) << 16;
        // SAFETY: open handles, and a valid pointer for the new one.
        let outcome = unsafe {
            create(
                size,
                console_input.as_raw_handle(),
                console_output.as_raw_handle(),
                0,
                &raw mut console,
            )
        };
        if outcome < 0 {
            return Err(io::Error::from_raw_os_error(outcome & 0xffff));
        }
        match start(console, argv) {
            Ok(process) => Ok(Self {
                console,
                close,
                input: input.into(),
                output: output.into(),
                process,
            }),
            Err(error) => {
                // SAFETY: open, and not used afterwards.
                unsafe { close(console) };
                Err(error)
            }
        }
    }

    /// Write to the program's input.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.write_all(bytes)
    }

    /// Read what the program wrote; wait for it. `BrokenPipe` after the program has ended, `TimedOut` after the timeout.
    pub fn read(&mut self, timeout: Duration) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        loop {
            // Checked before reading: what an ended program wrote is on its way.
            // SAFETY: an open handle.
            let gone = unsafe { WaitForSingleObject(self.process.as_raw_handle(), 0) } == 0;
            if gone {
                std::thread::sleep(POLL_INTERVAL);
            }
            let mut available = 0;
            // SAFETY: an open handle and a valid pointer; the others may be null.
            check(unsafe {
                PeekNamedPipe(
                    self.output.as_raw_handle(),
                    null_mut(),
                    0,
                    null_mut(),
                    &raw mut available,
                    null_mut(),
                )
            })?;
            if available > 0 {
                let mut piece = vec![0; available as usize];
                let count = self.output.read(&mut piece)?;
                piece.truncate(count);
                return Ok(piece);
            }
            if gone {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "Pipe closed"));
            }
            if deadline <= Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: both are open, and not used afterwards.
        unsafe {
            TerminateProcess(self.process.as_raw_handle(), 1);
            (self.close)(self.console);
        }
    }
}

/// Start a program on a pseudo console.
fn start(console: RawHandle, argv: &[OsString]) -> io::Result<OwnedHandle> {
    let mut line: Vec<u16> = Vec::new();
    for argument in argv {
        if !line.is_empty() {
            line.push(u16::from(b' '));
        }
        // Enough for the tests: no argument contains a quotation mark or ends with a backslash.
        line.push(u16::from(b'"'));
        line.extend(argument.encode_wide());
        line.push(u16::from(b'"'));
    }
    line.push(0);
    let mut size = 0;
    // SAFETY: the first call returns the size of the list, the others fill it. It lives until the process has started.
    unsafe {
        InitializeProcThreadAttributeList(null_mut(), 1, 0, &raw mut size);
        let mut list = vec![0_usize; size.div_ceil(size_of::<usize>())];
        check(InitializeProcThreadAttributeList(
            list.as_mut_ptr().cast(),
            1,
            0,
            &raw mut size,
        ))?;
        check(UpdateProcThreadAttribute(
            list.as_mut_ptr().cast(),
            0,
            PSEUDO_CONSOLE,
            console,
            size_of::<RawHandle>(),
            null_mut(),
            null_mut(),
        ))?;
        let startup = StartupInfo {
            size: u32::try_from(size_of::<StartupInfo>()).unwrap_or(0),
            names: [0; 3],
            numbers: [0; 7],
            flags: USE_STD_HANDLES,
            show: 0,
            reserved_size: 0,
            reserved: 0,
            handles: [0; 3],
            attributes: list.as_mut_ptr().cast(),
        };
        let mut information = ProcessInformation::default();
        check(CreateProcessW(
            null(),
            line.as_mut_ptr(),
            null(),
            null(),
            0,
            EXTENDED_STARTUP_INFO,
            null(),
            null(),
            &raw const startup,
            &raw mut information,
        ))?;
        drop(OwnedHandle::from_raw_handle(
            information.thread as RawHandle,
        ));
        Ok(OwnedHandle::from_raw_handle(
            information.process as RawHandle,
        ))
    }
}

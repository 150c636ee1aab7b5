//! Memory in pieces of an assumed page size, and more memory than is available.

use std::io;

/// Map two pages of the assumed size and protect the second, as an allocator does for a guard page.
///
/// The system refuses (`EINVAL`) if the second does not begin on a real page, because real pages are larger.
#[cfg(unix)]
pub fn page_aligned(assumed: usize) -> io::Result<()> {
    use std::ptr;

    let length = assumed
        .checked_mul(2)
        .filter(|_| assumed.is_power_of_two())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "a page size is a power of two below half of the address space",
            )
        })?;
    // SAFETY: a new anonymous mapping; no other memory changes.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the second half of the mapping made above, which nothing uses.
    let refused = unsafe { libc::mprotect(start.byte_add(assumed), assumed, libc::PROT_NONE) };
    let outcome = match refused {
        // An emulator may use smaller pages than it reports.
        0 if assumed < crate::os::page_size() => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the mapping made above; nothing refers to it any more.
    unsafe { libc::munmap(start, length) };
    outcome
}

/// Allocate `size` bytes at once; without a size, more than any address space has.
pub fn exhaust(size: Option<usize>) -> io::Result<()> {
    // One half of a 32-bit address space may be free, but never both.
    const HALF: usize = isize::MAX as usize;
    let sizes = match size {
        Some(size) => vec![size],
        None => vec![HALF, HALF],
    };
    let mut held = Vec::new();
    for size in sizes {
        let mut piece = Vec::<u8>::new();
        piece
            .try_reserve_exact(size)
            .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error.to_string()))?;
        // Opaque to the optimizer, which may remove an unused allocation.
        held.push(std::hint::black_box(piece));
    }
    Ok(())
}

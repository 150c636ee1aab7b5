//! Threads that Python did not start.

use std::hint::black_box;
use std::io;
use std::num::NonZeroUsize;
use std::thread::{Builder, scope};

/// Run `work(number)` once on each of `count` threads. The results are in the order of the numbers.
pub fn on_each<T: Send>(
    count: NonZeroUsize,
    work: impl Fn(usize) -> T + Sync,
) -> io::Result<Vec<T>> {
    let work = &work;
    scope(|scope| {
        let running = (0..count.get())
            .map(|number| Builder::new().spawn_scoped(scope, move || work(number)))
            .collect::<io::Result<Vec<_>>>()?;
        running
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| io::Error::other("a thread panicked"))
            })
            .collect()
    })
}

/// The sum of the numbers below `n`. Each thread adds every `count`-th number.
pub fn parallel_sum(n: u64, count: NonZeroUsize) -> io::Result<u128> {
    let partial = |number: usize| {
        (number as u64..n)
            .step_by(count.get())
            // Opaque to the optimizer, which would replace the loop with a formula.
            .map(|value| u128::from(black_box(value)))
            .sum::<u128>()
    };
    Ok(on_each(count, partial)?.into_iter().sum())
}

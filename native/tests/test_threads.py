"""Native threads, with the interpreter released and attached again."""

from __future__ import annotations

import threading

import pytest
import wheelcheck_witness


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 10_007])
def test_parallel_sum(n, threads):
    assert wheelcheck_witness.parallel_sum(n, threads) == n * (n - 1) // 2


def test_parallel_sum_from_many_python_threads():
    sums = []
    callers = [threading.Thread(target=lambda: sums.append(wheelcheck_witness.parallel_sum(1000, 2))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert sums == [499_500] * 8


def test_callbacks_run_on_separate_threads():
    barrier = threading.Barrier(3)

    def callback(number):
        # All three must wait here at the same time.
        barrier.wait(60)
        return number, threading.get_ident()

    results = wheelcheck_witness.call_from_threads(callback, 3)
    assert [number for number, _ in results] == [0, 1, 2]
    idents = {ident for _, ident in results}
    assert len(idents) == 3
    assert threading.get_ident() not in idents


def test_an_exception_of_a_callback_is_raised():
    def callback(number):
        raise KeyError(number)

    with pytest.raises(KeyError, match=r"^0$"):
        wheelcheck_witness.call_from_threads(callback, 2)


@pytest.mark.parametrize(
    ("function", "argument"), [("parallel_sum", 1), ("call_from_threads", print), ("atomic_add", 1)]
)
def test_no_threads_at_all_are_refused(function, argument):
    with pytest.raises(ValueError, match="threads must be 1 or more"):
        getattr(wheelcheck_witness, function)(argument, 0)


@pytest.mark.parametrize("threads", [1, 4])
def test_atomic_add_loses_nothing(threads):
    assert wheelcheck_witness.atomic_add(5000, threads) == 5000 * threads

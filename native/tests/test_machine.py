"""Differences between machines of one architecture: page size and instructions."""

from __future__ import annotations

import errno
import sys

import pytest
import wheelcheck_witness

unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows rounds to its page size")


@unix
@pytest.mark.parametrize("factor", [1, 2, 16])
def test_pages_of_the_real_size_or_a_multiple_can_be_protected(facts, factor):
    wheelcheck_witness.page_aligned(facts["page_size"] * factor)


@unix
def test_pages_assumed_too_small_are_refused(facts):
    with pytest.raises(OSError, match=r".+") as caught:
        wheelcheck_witness.page_aligned(facts["page_size"] // 2)
    assert caught.value.errno == errno.EINVAL


@unix
@pytest.mark.parametrize("size", [0, 4095, sys.maxsize + 1])
def test_page_sizes_that_no_machine_has_are_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        wheelcheck_witness.page_aligned(size)


@pytest.mark.crash
@pytest.mark.parametrize(("function", "feature"), [("lse_add", "lse"), ("avx2_add", "avx2")], ids=["lse", "avx2"])
def test_instruction_works_where_the_cpu_has_it(run, died, facts, function, feature):
    if not hasattr(wheelcheck_witness, function):
        pytest.skip(f"{facts['architecture']} has no such instruction")
    ended = run(f"import wheelcheck_witness as w; print(w.{function}(), w.{function}(1000, 1), end='')")
    if feature in facts["cpu_features"]:
        assert ended[:2] == (0, b"42 1001")
    else:
        assert died(ended, "SIGILL")

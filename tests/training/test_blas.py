"""NumPy's matrix products on one thread for a while."""

import threading

import numpy as np
import pytest

from minigrad import nn, optim, study
from minigrad.training import _blas as blas


@pytest.fixture
def threads():
    """How many threads the library has now; two before and after."""
    switch = blas._switch()
    if switch is None:
        pytest.skip("the library of NumPy's products cannot be told")
    before = switch.get()
    switch.set(2)
    yield switch.get
    switch.set(before)


def test_a_block_has_one_thread_and_brings_the_others_back(threads):
    with blas.one_blas_thread():
        assert threads() == 1
        with blas.one_blas_thread():
            assert threads() == 1
        assert threads() == 1
    assert threads() == 2
    with pytest.raises(KeyError), blas.one_blas_thread():
        raise KeyError
    assert threads() == 2


def test_blocks_of_threads_that_overlap_bring_back_what_was_before_the_first(threads):
    entered, left = threading.Event(), threading.Event()

    def first():
        with blas.one_blas_thread():
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(10)
    with blas.one_blas_thread():
        left.set()
        thread.join(10)
        assert threads() == 1
    assert threads() == 2


def test_a_recorder_reads_with_one_thread_and_leaves_training_its_own(threads):
    seen = []

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 1)

        def forward(self, x):
            seen.append((self.training, threads()))
            return self.inner(x)

    model = Asking()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with study.Recorder(model, optimizer, every=1):
        for _ in range(2):
            model(np.ones((4, 2), "f")).sum().backward()
            optimizer.step()
    assert seen == [(True, 2), (False, 1), (True, 2), (False, 1)]
    assert threads() == 2

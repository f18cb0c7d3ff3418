"""Threads share the blocks of a pass: each is done once, errors are raised at the step, nobody waits long twice."""

import threading
import time

import pytest

from minigrad.kernels import threads

LARGE = threads.PARALLEL_FROM


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    before = threads.get_num_threads()
    monkeypatch.setattr(threads, "_alone_until", 0.0)
    threads.set_num_threads(2)
    yield
    threads.set_num_threads(before)


class Blocks:
    """Notes which thread was given which blocks; a helper's first batch waits until it is let go."""

    def __init__(self, held=False, error=None):
        self.taken, self.error = [], error
        self.helping, self.go = threading.Event(), threading.Event()
        self.held = held
        self.caller = threading.get_ident()

    def __call__(self, first, last):
        own = threading.get_ident() == self.caller
        self.taken.append((own, first, last))
        if own:
            # Leave something to the other thread, which may need a while to wake.
            self.helping.wait(5)
        else:
            self.helping.set()
            if self.held:
                self.go.wait(5)
            if self.error is not None:
                raise self.error

    def blocks(self):
        return sorted(block for _, first, last in self.taken for block in range(first, last))


def test_every_block_is_done_once_and_both_threads_take_part():
    work = Blocks()
    threads.run_blocks(work, 100, LARGE)
    assert work.blocks() == list(range(100))
    assert {own for own, _, _ in work.taken} == {True, False}


@pytest.mark.parametrize(("blocks", "elements"), [(100, LARGE - 1), (1, LARGE)])
def test_little_work_is_done_by_the_caller_in_one_go(blocks, elements):
    work = Blocks()
    work.helping.set()
    threads.run_blocks(work, blocks, elements)
    assert work.taken == [(True, 0, blocks)]


def test_one_thread_is_the_caller():
    threads.set_num_threads(1)
    work = Blocks()
    work.helping.set()
    threads.run_blocks(work, 100, LARGE)
    assert work.taken == [(True, 0, 100)]


def test_an_error_in_another_thread_is_raised_where_the_step_was_called_and_the_next_step_runs():
    with pytest.raises(KeyError, match="in a kernel"):
        threads.run_blocks(Blocks(error=KeyError("in a kernel")), 100, LARGE)
    work = Blocks()
    threads.run_blocks(work, 100, LARGE)
    assert work.blocks() == list(range(100))


def test_after_a_long_wait_for_a_thread_the_caller_works_alone_for_a_while(monkeypatch):
    monkeypatch.setattr(threads, "_ALONE", 0.2)
    slow = Blocks(held=True)
    threading.Timer(0.05, slow.go.set).start()
    threads.run_blocks(slow, 100, LARGE)
    assert slow.go.is_set()  # it was waited for
    assert slow.blocks() == list(range(100))
    alone = Blocks()
    alone.helping.set()
    threads.run_blocks(alone, 100, LARGE)
    assert alone.taken == [(True, 0, 100)]
    time.sleep(0.25)
    again = Blocks()
    threads.run_blocks(again, 100, LARGE)
    assert {own for own, _, _ in again.taken} == {True, False}


@pytest.mark.parametrize("threads_wanted", [0, -1, 1.0, "2", None])
def test_a_number_of_threads_that_is_none_is_refused(threads_wanted):
    with pytest.raises((TypeError, ValueError), match="set_num_threads: threads must be a whole number of 1 or more"):
        threads.set_num_threads(threads_wanted)
    assert threads.get_num_threads() == 2


def test_fewer_threads_end_those_that_are_too_many():
    threads.run_blocks(Blocks(), 100, LARGE)
    helpers = [each for each in threading.enumerate() if each.name.startswith("minigrad-")]
    assert helpers
    threads.set_num_threads(1)
    for helper in helpers:
        helper.join(5)
        assert not helper.is_alive()

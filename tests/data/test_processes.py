"""Ctrl-C while worker processes start."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from rgbd3d.data.processes import _no_interrupts


@pytest.fixture
def another_thread() -> Iterator[None]:
    """One that does not block the signal, and so takes it for the process."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield
    end.set()
    thread.join()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(0.2)


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["heeded", "ignored"])
def heeded(request: pytest.FixtureRequest) -> Iterator[bool]:
    """A shell's background job ignores Ctrl-C from its start."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("another_thread")
def test_an_interrupt_waits_until_the_end_of_the_block(heeded: bool):
    reached = False

    def block() -> None:
        nonlocal reached
        with _no_interrupts():
            interrupt()
            reached = True

    if heeded:
        with pytest.raises(KeyboardInterrupt):
            block()
    else:
        block()
    assert reached


def test_handler_and_mask_are_given_back():
    before = signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with _no_interrupts():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert (signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ())) == before

"""Tasks in parallel processes: with progress, stopped by Ctrl-C, and never outliving a killed parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from rgbd3d.data.codec import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")

_REFRESH_SECONDS = 0.5


def run_tasks(
    work: Callable[[Task], Result], tasks: Sequence[Task], processes: int, bar: tqdm[Any]
) -> Iterator[Result]:
    """Results of `work(task)` as they come, not in the order of the tasks.

    Args:
        work: A function of a module; calls `step` after each item that the bar counts.
        tasks: Can be pickled.
        processes: 1 works in this process.
        bar: Counts the items.

    Raises:
        DataError: A process was killed.
        Exception: The first one that a task raises; the others are stopped.
    """
    global _link  # the only way to reach the tasks of a pool
    if processes == 1:
        _link = _Link(bar.update)
        yield from map(work, tasks)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has used torch threads may hang
    stop, done = context.Event(), context.Value("q")
    pool = ProcessPoolExecutor(processes, context, _start_worker, (stop, done))
    # Not `concurrent.futures.wait`: Ctrl-C within it may leave a future locked, for which the pool waits for ever.
    ready: SimpleQueue[Future[Result]] = SimpleQueue()
    try:
        with _no_interrupts():
            for task in tasks:
                pool.submit(work, task).add_done_callback(ready.put)
        left = len(tasks)
        while left:
            future = _next(ready)
            with done.get_lock():
                counted, done.value = done.value, 0
            bar.update(counted)
            if future is not None:
                left -= 1
                yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was killed, probably for lack of memory: the same command with fewer --workers goes on"
        ) from error
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)  # not `with`: leaving it would take the cancelling back


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl-C waits until the end; processes that are started here never get it: it is the parent's business.

    Blocking it is for them, who inherit the mask. Here another thread may still take it (tqdm has one), and Python then
    calls the handler in the main thread: so that may not raise either.
    """
    kept: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, frame: kept.append(number)) if in_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        for number in kept:
            signal.raise_signal(number)


def _next(ready: SimpleQueue[Future[Result]]) -> Future[Result] | None:
    try:
        return ready.get(timeout=_REFRESH_SECONDS)
    except Empty:
        return None


def step(items: int = 1) -> None:
    """Tells the parent that items are done.

    Raises:
        KeyboardInterrupt: The parent wants to stop.
    """
    if _link.stop is not None and _link.stop.is_set():
        raise KeyboardInterrupt
    _link.count(items)


class _Link:
    """How a task reaches whoever started it."""

    def __init__(self, count: Callable[[int], object], stop: Event | None = None) -> None:
        self.count = count
        self.stop = stop


_link = _Link(lambda items: None)


def _start_worker(stop: Event, done: Any) -> None:
    global _link

    def count(items: int) -> None:
        with done.get_lock():
            done.value += items

    _link = _Link(count, stop)
    torch.set_num_threads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """A killed parent cannot stop its workers; idle ones would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)

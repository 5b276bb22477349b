"""Damaged copies of a file, and the promise that a reader keeps on all of them."""

import resource
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rgbd3d.data.codec import DataError

EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]
SLACK_MIB = 1024


def mutations(data: bytes, count: int, seed: int = 0, header: int = 4096) -> Iterator[bytes]:
    """`count` damaged copies of `data`; half of the damage is done to its first `header` bytes, where the sizes are."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            damage(damaged, rng, min(len(damaged), header if rng.random() < 0.5 else len(damaged)))
        yield bytes(damaged)


def damage(data: bytearray, rng: np.random.Generator, end: int) -> None:
    """One change in `data[:end]`: a flipped bit, an extreme number, a lost, repeated or random stretch, a lost end."""
    at = int(rng.integers(0, max(end, 1)))
    length = int(rng.integers(1, 64))
    match rng.integers(0, 6):
        case 0 if data:
            data[min(at, len(data) - 1)] ^= 1 << int(rng.integers(0, 8))
        case 1:
            width = int(rng.choice([1, 2, 4, 8]))
            value = EXTREMES[rng.integers(0, len(EXTREMES))] & (2 ** (8 * width) - 1)
            data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.8 else "big")
        case 2:
            del data[at : at + length]
        case 3:
            data[at:at] = data[at : at + length]
        case 4:
            data[at : at + length] = rng.bytes(length)
        case _:
            del data[at:]


def assert_survives(original: Path, count: int, read: Callable[[Path], object], work: Path, seed: int = 0) -> None:
    """Each damaged copy of `original` is read, or refused with a `DataError`, in bounded memory.

    Args:
        original: A whole file.
        count: Damaged copies.
        read: Reads a file completely.
        work: Folder for the copies, which get the name of the original.
        seed: Of the damage.
    """
    copy = work / original.name
    refusals = []
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SLACK_MIB * 2**20, limits[1]))
    try:
        for number, damaged in enumerate(mutations(original.read_bytes(), count, seed)):
            copy.write_bytes(damaged)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    read(copy)
            except DataError as error:
                refusals.append(str(error))
            except Exception as error:
                raise AssertionError(f"copy {number} (seed {seed}): {type(error).__name__}: {error}") from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert refusals, "no damage was noticed at all: the reader checks nothing"
    nameless = [message for message in refusals if copy.name not in message]
    assert not nameless, f"which file? {nameless[0]}"

"""Rows of the comparison, and how each is measured."""
import dataclasses
import gc
import math
import statistics
import time

import torch


@dataclasses.dataclass
class Row:
    """The same work by several: calls that write into tensors, and what those must then hold."""
    group: str
    name: str
    flops: float
    cores: int
    calls: dict  # name -> a call without arguments
    results: dict  # name -> a function that gives its tensors
    expected: list  # in float64
    tolerance: float  # of the relative error in the 2-norm, of each tensor


def drawn(generator, *shape, low=-1.7, high=1.7):
    return torch.rand(*shape, generator=generator) * (high - low) + low


def error(made, expected):
    """The largest of the relative errors of some tensors; none where one is no number."""
    errors = [((x.detach().double().reshape(y.shape) - y).norm() / y.norm()).item() for x, y in zip(made, expected)]
    return math.nan if any(map(math.isnan, errors)) else max(errors)


def checked(row):
    """Every subject's error; nobody may compute something else."""
    errors = {}
    for name, call in row.calls.items():
        call()
        made = row.results[name]()
        assert len(made) == len(row.expected)
        errors[name] = error(made, row.expected)
        if not errors[name] <= row.tolerance:
            raise SystemExit(f"{row.name}: {name} is off by {errors[name]:.2e} of fp64; allowed: {row.tolerance:.0e}")
    return errors


class Watch:
    """Time that this process had on the core, and time that went by meanwhile: when others work, they differ."""

    def __init__(self):
        self.own = self.passed = 0

    def of(self, calls, call):
        """Seconds of one of some calls, all threads together."""
        passed, own = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        own, passed = time.process_time() - own, time.perf_counter() - passed
        self.own, self.passed = self.own + own, self.passed + passed
        return own / calls


def alternated(row, watch, rounds, least):
    """Seconds of each subject, one number a round: in turns, each warm by a call before, for some seconds at least."""
    counts = {name: max(1, math.ceil(least / max(watch.of(1, call), 1e-9))) for name, call in row.calls.items()}
    seconds = {name: [] for name in row.calls}
    names = list(row.calls)
    gc.collect()
    gc.disable()
    for i in range(rounds):
        for name in names[i % len(names):] + names[:i % len(names)]:
            row.calls[name]()
            seconds[name].append(watch.of(counts[name], row.calls[name]))
    gc.enable()
    return seconds


def median(numbers):
    return statistics.median(numbers)

#!/usr/bin/env python3
"""Compares two results of the same kind: what run.sh of bench/peers wrote, or Google Benchmark's --benchmark_out.

    python3 bench/compare.py OLD.json NEW.json

Speeds are shares of the peak that was calibrated in the same run, so that another clock is no change. Printed are rows
that changed by more than the noise: the wider interquartile range of the two, over the median, and at least --noise.
Beside peers, only ringfold's own speed counts. Exit status: 1 when a row is slower by more than --limit and its
noise, or is no number, 2 when the
files have no row in common.
"""
import argparse
import json
import math
import pathlib
import statistics
import sys


def row_of(speeds):
    """The median of some speeds, and their spread as a part of it."""
    middle = statistics.median(speeds)
    if len(speeds) < 3:
        return middle, 0
    low, _, high = statistics.quantiles(speeds, n=4)
    return middle, (high - low) / middle


def rows_of_peers(result):
    for row in result["rows"]:
        at_best = row["flops"] / (result["fma_peak"] * row["cores"])
        yield f"{row['group']}, {row['name']}", row_of([at_best / each for each in row["seconds"]["ringfold"]])


def rows_of_benchmark(result):
    """With --benchmark_repetitions every repetition counts; aggregates are taken where nothing else is."""
    runs = result["benchmarks"]
    peaks = [each["GFLOP/s"] for each in runs
             if each["name"].split("/")[0] == "fma_peak" and "GFLOP/s" in each]
    peak = statistics.median(peaks) if peaks else 1

    def speed(run):
        if "of_peak" in run:
            return run["of_peak"]
        time = run["real_time" if "manual_time" in run["name"] or "real_time" in run["name"] else "cpu_time"]
        return 1e9 / (time * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[run["time_unit"]]) / (peak * 1e9)

    named = {}
    for run in runs:
        if run.get("error_occurred"):
            continue
        of_one = run.get("run_type", "iteration") == "iteration"
        if "fma_peak" not in run["name"] and (of_one or run.get("aggregate_name") == "median"):
            named.setdefault(run.get("run_name", run["name"]), ([], []))[0 if of_one else 1].append(speed(run))
    for name, (repetitions, medians) in named.items():
        yield name, row_of(repetitions or medians)


def rows_of(result):
    """{name: (speed, spread)}."""
    return dict(rows_of_benchmark(result) if "benchmarks" in result else rows_of_peers(result))


def compared(old, new, noise=0.02, limit=0.05):
    """Lines to print, and the exit status."""
    before, after = rows_of(old), rows_of(new)
    common = [name for name in before if name in after]
    if not common:
        return ["no row in common"], 2
    lines, slower = [], 0
    for name in common:
        (was, spread), (is_now, spread_now) = before[name], after[name]
        change = is_now / was - 1 if was > 0 else math.nan
        if abs(change) <= max(noise, spread, spread_now):
            continue
        is_slower = not change >= -limit  # what is no number is no result
        slower += is_slower
        lines.append((change, f"{was:10.4g} {is_now:10.4g} {change:+8.1%}  {name}{'  SLOWER' if is_slower else ''}"))
    heads = [f"{'old':>10} {'new':>10} {'change':>8}"] if lines else []
    missing = [f"only in the old file: {name}" for name in before if name not in after]
    added = [f"only in the new file: {name}" for name in after if name not in before]
    verdict = f"{len(common)} rows, {len(lines)} changed, {slower} slower by more than {limit:.0%}"
    return heads + [line for _, line in sorted(lines)] + missing + added + [verdict], int(slower > 0)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("old")
    options.add_argument("new")
    options.add_argument("--noise", type=float, default=0.02, help="changes that are none, at least")
    options.add_argument("--limit", type=float, default=0.05, help="slower by more than this fails")
    given = options.parse_args()
    old, new = (json.loads(pathlib.Path(path).read_text()) for path in (given.old, given.new))
    lines, status = compared(old, new, given.noise, given.limit)
    print("\n".join(lines))
    sys.exit(status)


if __name__ == "__main__":
    main()

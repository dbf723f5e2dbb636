#!/usr/bin/env python3
"""Measures ringfold beside its peers, in turns; writes a table, a picture, all numbers; compares with the last result.

run.sh calls it. Exit status: 1 when a row of ringfold's is slower than last time by more than 5 %.
"""
import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import subprocess
import sys

import torch

import attention
import linear
import measure
import plot
import report
import ring
from native import Native

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import compare  # noqa: E402
INSTRUCTIONS = ("fma", "f16c", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")


def machine():
    """What /proc/cpuinfo says, which virtual machines may say otherwise than the label on the processor."""
    said = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), value.strip())
    flags = (said.get("flags") or said.get("Features") or "").split()
    return {"processor": said.get("model name", platform.machine()), "cores": os.cpu_count(),
            "family, model": f"{said.get('cpu family', '?')}, {said.get('model', '?')}",
            "instructions": [x for x in INSTRUCTIONS if x in flags], "system": platform.system()}


def commit():
    return subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True,
                          text=True).stdout.strip() or "unknown"


def last_result():
    """The newest in bench/results, or None."""
    files = sorted((HERE.parent / "results").glob("*-peers.json"))
    return json.loads(files[-1].read_text()) if files else None


def measured(rows, watch, rounds, least, native, peaks):
    """Rows as they go into the file; the peak is looked at again between them."""
    for row in rows:
        errors = measure.checked(row)
        seconds = measure.alternated(row, watch, rounds, least)
        peaks.append(native.fma_peak())
        yield finished(row, seconds, errors)


def ring_rows(native, tokens, dims, rounds):
    """Passed time of two ranks on all cores; three turns each."""
    gloo = ring.Gloo()
    for row in ring.rows(native, gloo, tokens, dims):
        seconds = {name: [] for name in row.calls}
        for _ in range(3):
            for name, call in row.calls.items():
                seconds[name] += call(max(1, rounds // 3))
        errors = {name: measure.error(made(), row.expected) for name, made in row.results.items()}
        for name, each in errors.items():
            assert each <= row.tolerance, f"{row.name}: {name} is off by {each:.2e} of fp64"
        yield finished(row, seconds, errors)
    gloo.close()


def finished(row, seconds, errors):
    times = {name: measure.median(each) for name, each in seconds.items()}
    said = ", ".join(f"{name} {1e3 * each:.3g} ms" for name, each in times.items())
    print(f"{row.group}, {row.name}: {said}", flush=True)
    return {"group": row.group, "name": row.name, "flops": row.flops, "cores": row.cores, "seconds": seconds,
            "errors": errors}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("library", help="what CMake built of this folder")
    options.add_argument("--to", default=str(HERE.parent / "results" / f"{datetime.date.today()}-peers"),
                         help="files to write, without .json, .md and .svg")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--least", type=float, default=0.03, help="seconds that a round takes at least, of each")
    options.add_argument("--quick", action="store_true", help="few shapes and rounds, to see that all works")
    given = options.parse_args()
    last = None if given.quick else last_result()
    dims, tokens, rounds = ([64], [512], 3) if given.quick else ([64, 128], [1024, 4096], given.rounds)

    torch.set_num_threads(1)
    native = Native(given.library)
    versions = native.versions()
    watch, peaks = measure.Watch(), [native.fma_peak()]
    rows = itertools.chain(attention.rows(native, tokens, dims, (torch.float32, torch.bfloat16)),
                           linear.rows(native, max(tokens), dims, [64] if given.quick else [64, 128]))
    made = list(measured(rows, watch, rounds, given.least, native, peaks))

    everywhere = range(os.cpu_count())
    os.sched_setaffinity(0, everywhere)
    if len(os.sched_getaffinity(0)) >= ring.RANKS:
        made += ring_rows(native, max(tokens), dims, rounds)
    else:
        print("one core: no ring of two ranks")

    result = {
        "of": "ringfold and its peers", "date": str(datetime.date.today()), "commit": commit(), "machine": machine(),
        "compiler": versions.pop("compiler"),
        "versions": {"PyTorch": torch.__version__, **versions, "Python": platform.python_version(),
                     "fla-core": importlib.metadata.version("fla-core")},
        "rounds": rounds, "fma_peak": measure.median(peaks), "fma_peaks": peaks, "share_of_core": watch.own / watch.passed,
        "rows": made,
    }
    pathlib.Path(f"{given.to}.json").write_text(json.dumps(result, indent=1) + "\n")
    table = report.table(result)
    pathlib.Path(f"{given.to}.md").write_text(table)
    pathlib.Path(f"{given.to}.svg").write_text(plot.picture(result))
    print(f"\n{table}\nwritten: {given.to}.json, .md and .svg")
    if last:
        lines, status = compare.compared(last, result)
        print(f"\nagainst {last['date']}, commit {last['commit']}:", *lines, sep="\n")
        sys.exit(status)


if __name__ == "__main__":
    main()

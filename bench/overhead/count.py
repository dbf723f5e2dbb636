#!/usr/bin/env python3
"""Counts the instructions of a call of ring, ulysses and a scan, and of the same loop written by hand.

Everything that they call does nothing (instant.hpp), so that what is counted is their own work, checks included: with
messages that nobody carries; with messages that go through ringfold::self, which checks and pairs them; and with the
stream's work done too: 128 rows of 64 floats for as many heads as ranks are copied, states of 64 x 64 are worked on.
What is written by hand knows that nothing is masked and all shards are alike. Counts are exact; they differ by
compiler, and those of copies by C library.

  python3 bench/overhead/count.py [--compiler g++] [--flags "-O3 -mavx2 -mfma"]
"""
import argparse
import datetime
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def counted(program, *arguments):
    """All instructions of a run."""
    run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *arguments],
                         capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", run.stderr)[1])


def of_a_call(program, what, who, done, ranks, calls=100):
    """What another call adds to a run: the first one may find symbols, and fill caches."""
    once, often = (counted(program, what, who, done, str(ranks), str(n)) for n in (1, 1 + calls))
    return (often - once) / calls


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main():
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--compiler", default="g++")
    given.add_argument("--flags", default="-O3 -mavx2 -mfma")
    given = given.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/overhead"
        subprocess.run([given.compiler, "-std=c++20", *given.flags.split(), f"-I{ROOT}/include",
                        f"{ROOT}/bench/overhead/overhead.cpp", "-o", program], check=True)
        commit = first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
        compiler = first_line(given.compiler, "--version")
        print(f"date {datetime.date.today()}, commit {commit}, {compiler} {given.flags}, "
              f"{first_line('valgrind', '--version')}\ninstructions of a call\n")
        print(f"{'what':8} {'also done':10} {'ranks':>5} {'by hand':>9} {'library':>9} {'ratio':>6} {'more':>6}")
        rows = [(what, done) for what in ("ring", "ulysses") for done in ("nothing", "pairing", "copying")]
        for what, done in (*rows, ("scan", "nothing"), ("scan", "copying")):
            for ranks in (8,) if what == "scan" else (4, 8):  # a scan in 8 pieces, whatever the ranks
                hand, library = (of_a_call(program, what, who, done, ranks) for who in ("by_hand", "library"))
                print(f"{what:8} {done:10} {ranks:5} {hand:9.0f} {library:9.0f} {library / hand:6.3f} "
                      f"{library - hand:6.0f}", flush=True)


main()

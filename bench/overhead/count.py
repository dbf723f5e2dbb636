#!/usr/bin/env python3
"""Counts the instructions of a call of ring, ulysses and a scan, and of the same loop written by hand.

Everything that they call does nothing (instant.hpp), so that what is counted is their own work, checks included: with
messages that nobody carries, and with messages that go through ringfold::self, which checks and pairs but copies nothing.
What is written by hand knows that nothing is masked and all shards are alike. Counts are exact; they differ by compiler.

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


def of_a_call(program, what, who, carried, ranks, calls=100):
    """What another call adds to a run: the first one may find symbols, and fill caches."""
    once, often = (counted(program, what, who, carried, str(ranks), str(n)) for n in (1, 1 + calls))
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
        print(f"date {datetime.date.today()}, commit {commit}, {first_line(given.compiler, '--version')} {given.flags}, "
              f"{first_line('valgrind', '--version')}\ninstructions of a call\n")
        print(f"{'what':8} {'carried by':10} {'ranks':>5} {'by hand':>8} {'library':>8} {'ratio':>6} {'more':>6}")
        for what, carried in (("ring", "nobody"), ("ring", "self"), ("ulysses", "nobody"), ("ulysses", "self"),
                              ("scan", "nobody")):
            for ranks in (8,) if what == "scan" else (4, 8):  # a scan in 8 pieces, whatever the ranks
                hand, library = (of_a_call(program, what, who, carried, ranks) for who in ("by_hand", "library"))
                print(f"{what:8} {carried:10} {ranks:5} {hand:8.0f} {library:8.0f} {library / hand:6.2f} "
                      f"{library - hand:6.0f}", flush=True)


main()

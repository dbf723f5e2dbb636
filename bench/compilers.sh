#!/usr/bin/env bash
# The kernels by several compilers and levels, in turn on one core: the share of the peak that each reaches.
#   bash bench/compilers.sh [rounds, 5]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1:-5}
filter='^(forward|backward)<(float|bf16), flash_kernel>/tokens:1024/|^fma_peak'
programs=()
for compiler in g++ clang++-16; do
  command -v $compiler >/dev/null || continue
  for level in O2 O3; do
    build=build-compilers/$compiler-$level
    cmake -S . -B "$build" -G Ninja -D CMAKE_CXX_COMPILER=$compiler -D CMAKE_BUILD_TYPE=Release \
      -D CMAKE_CXX_FLAGS_RELEASE=-$level -D RINGFOLD_TESTS=OFF -D RINGFOLD_EXAMPLES=OFF >/dev/null
    cmake --build "$build" --target kernel_bench >/dev/null
    programs+=("$build")
  done
done
for ((round = 0; round < rounds; ++round)); do
  for build in "${programs[@]}"; do
    taskset -c "${CORE:-$(($(nproc) - 1))}" "$build/bench/kernel_bench" --benchmark_filter="$filter" \
      --benchmark_format=json 2>/dev/null >"$build/$round.json"
  done
done
python3 - "$rounds" "${programs[@]}" <<'PYTHON'
import json, pathlib, statistics, sys
rounds, programs = int(sys.argv[1]), sys.argv[2:]
def shares(build, round):
    runs = json.loads(pathlib.Path(build, f"{round}.json").read_text())["benchmarks"]
    return {run["name"].split("/min_time")[0]: run["of_peak"] for run in runs if "of_peak" in run}
tables = [[shares(build, round) for round in range(rounds)] for build in programs]
print("".join(f"{pathlib.Path(build).name:>15}" for build in programs), " share of the peak, median of", rounds)
for name in tables[0][0]:
    print("".join(f"{statistics.median(each[name] for each in table):15.3f}" for table in tables), "", name)
PYTHON

#!/usr/bin/env bash
# ringfold beside its peers on this machine: installs what is missing, builds, measures on one core, and writes
# bench/results/<date>-peers.json, .md and .svg. Arguments go to run.py: --quick, --rounds 9, --to <path>
# CORE is the core that all are measured on (the last, by default); rings of two ranks have all cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source cmake/setup.sh
ringfold_setup peers

build=build-peers
python=$build/python/bin/python
ringfold_notes='no (benchmark|peers)' ringfold_configure $build -D CMAKE_BUILD_TYPE=Release \
  -D RINGFOLD_TESTS=OFF -D RINGFOLD_EXAMPLES=OFF
cmake --build $build --target peers
if ! "$python" -c 'import einops, fla, torch' 2>/dev/null; then
  echo "ringfold: installing PyTorch and flash-linear-attention into $build/python"
  python3 -m venv $build/python
  "$python" -m pip install -q torch numpy einops
  "$python" -m pip install -q --no-deps fla-core  # its plain PyTorch files need nothing else
fi

# One thread each. Freed memory is kept, so that nobody's results are mapped anew in every call.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000
# OpenBLAS takes newer processors for older ones, at half the speed.
if grep -q avx512f /proc/cpuinfo; then export OPENBLAS_CORETYPE=SkylakeX; fi
exec taskset -c "${CORE:-$(($(nproc) - 1))}" "$python" bench/peers/run.py $build/bench/peers/libpeers.so "$@"

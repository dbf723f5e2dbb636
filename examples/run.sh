#!/usr/bin/env bash
# The main job: every schedule on real activations, 4 ranks in threads. Arguments are added to compare_schedules's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/setup.sh
ringfold_setup examples

ringfold_notes='no (examples|compare_schedules)' ringfold_configure build -D CMAKE_BUILD_TYPE=Release
cmake --build build --parallel "$(nproc)" --target compare_schedules
data=examples/data/layer0
exec build/examples/compare_schedules --ranks 4 --schedule all \
  --input ${data}_q.npy,${data}_k.npy,${data}_v.npy,${data}_o.npy "$@"

#!/usr/bin/env bash
# Builds everything for testing, and runs every test; then again under AddressSanitizer, UBSan and ThreadSanitizer.
# RINGFOLD_QUICK=1 leaves the sanitizers out. Arguments go to ctest, e.g. bash tests/run.sh -R ring
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/setup.sh
ringfold_setup "${RINGFOLD_SETUP:-tests}"

summary=()
failed=0

# stage <build folder> [launcher...]: builds and tests, keeps the verdict and goes on after a failed test.
stage() {
  local build=$1 log=$1/tests.log
  shift
  cmake --build "$build" --parallel "$(nproc)"
  "$@" ctest --test-dir "$build" --parallel 2 --output-on-failure "${arguments[@]}" | tee "$log" || failed=1
  summary+=("$(printf '%-12s %s' "$build" "$(grep -E '^[0-9]+% tests passed|^No tests' "$log")")")
}
arguments=("$@")

# Cases are small, so compiling is most of it: -Og takes g++ less than half the time of -O2, and the cases little longer.
ringfold_configure build-tests -D CMAKE_BUILD_TYPE=Quick -D CMAKE_CXX_FLAGS_QUICK=-Og
stage build-tests

if [ -z "${RINGFOLD_QUICK:-}" ]; then
  [ -z "${RINGFOLD_SANITIZER_CXX:-}" ] || export CXX=$RINGFOLD_SANITIZER_CXX
  debug=(-D CMAKE_BUILD_TYPE=Debug -D CMAKE_CXX_FLAGS_DEBUG="-O0 -g1")
  ringfold_configure build-asan "${debug[@]}" -D RINGFOLD_SANITIZE=address,undefined
  stage build-asan
  # GCC's ThreadSanitizer needs the address space as it was before Linux made it more random.
  fixed_addresses=()
  if setarch -R true 2>/dev/null; then fixed_addresses=(setarch -R); fi
  ringfold_configure build-tsan "${debug[@]}" -D RINGFOLD_SANITIZE=thread
  stage build-tsan "${fixed_addresses[@]}"
fi

printf '%s\n' "" "${summary[@]}"
exit $failed

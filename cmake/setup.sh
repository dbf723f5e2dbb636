#!/usr/bin/env bash
# Installs what is missing and nothing else:  bash cmake/setup.sh [examples|tests|peers|ci]
# Sourced by the run scripts, it also leaves CXX and PATH pointing at a compiler and a CMake that are new enough.

ringfold_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

ringfold_stop() {
  echo "ringfold: $*" >&2
  exit 1
}

# Installs those of the named Debian packages that are not there.
ringfold_packages() {
  local package log missing=() root=()
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || return 0  # then CMake says what it misses
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || ringfold_stop "please run once as root: apt-get install ${missing[*]}"
    root=(sudo)
  fi
  echo "ringfold: installing ${missing[*]}"
  log=$(mktemp)
  "${root[@]}" apt-get update -qq >"$log" 2>&1 || true  # an offline machine may still hold the packages
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >>"$log" 2>&1 || { cat "$log" >&2; ringfold_stop "apt-get could not install ${missing[*]}"; }
  rm "$log"
}

# Does this compiler, with its standard library, take the C++20 that the headers are written in?
ringfold_compiles() {
  command -v "$1" >/dev/null && "$1" -std=c++20 -x c++ -fsyntax-only - >/dev/null 2>&1 <<'SOURCE'
#include <concepts>
#include <span>
#if defined(__clang__) ? __clang_major__ < 16 : __GNUC__ < 12
#error too old
#endif
SOURCE
}

ringfold_compiler() {
  local compiler
  for compiler in ${CXX:-} c++ g++ g++-{12..16} clang++ clang++-{16..22}; do
    if ringfold_compiles "$compiler"; then
      export CXX=$compiler
      return 0
    fi
    [ "$compiler" != "${CXX:-}" ] || ringfold_stop "CXX=$CXX is no g++ >= 12 or clang++ >= 16"
  done
  return 1
}

# CMake's version as one number, 0 where there is none.
ringfold_cmake_version() {
  cmake --version 2>/dev/null | sed -n 's/^cmake version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | {
    read -r major minor || true
    echo $((${major:-0} * 1000 + ${minor:-0}))
  }
}

ringfold_setup() {
  local purpose=${1:-tests} tools=$ringfold_root/build/tools
  local packages=(libfmt-dev libcli11-dev nlohmann-json3-dev ninja-build)
  case $purpose in
    examples) ;;
    tests) packages+=(doctest-dev libbenchmark-dev libopenmpi-dev openmpi-bin) ;;
    peers) packages=(libfmt-dev libbenchmark-dev ninja-build libopenblas-dev libdnnl-dev python3-venv) ;;
    ci) packages+=(doctest-dev libbenchmark-dev libopenmpi-dev openmpi-bin doxygen clang-16 libclang-rt-16-dev clang-format-16) ;;
    *) ringfold_stop "setup for '$purpose'? Allowed: examples, tests, peers, ci" ;;
  esac

  ringfold_compiler || ringfold_packages g++
  ringfold_compiler || ringfold_packages g++-12
  ringfold_compiler || ringfold_stop "needs a C++20 compiler: g++ >= 12 or clang++ >= 16 (or name one in CXX)"

  [ -d "$tools/bin" ] && PATH=$tools/bin:$PATH
  [ "$(ringfold_cmake_version)" -ge 3025 ] || ringfold_packages cmake
  if [ "$(ringfold_cmake_version)" -lt 3025 ]; then  # an older Ubuntu: PyPI carries a newer one
    ringfold_packages python3-venv
    echo "ringfold: fetching a newer CMake into build/tools"
    python3 -m venv "$tools" && "$tools/bin/pip" install -q 'cmake>=3.25,<4' \
      || ringfold_stop "needs CMake >= 3.25, and PyPI could not provide it"
    PATH=$tools/bin:$PATH
  fi
  export PATH

  ringfold_packages "${packages[@]}"
}

# ringfold_configure <build folder> [options...]: quiet, but for the notes that match ringfold_notes (all by default).
ringfold_configure() {
  local build=$1 log=$1/configure.log generator=()
  shift
  mkdir -p "$build"
  if command -v ninja >/dev/null && [ ! -f "$build/CMakeCache.txt" ]; then generator=(-G Ninja); fi
  echo "ringfold: configuring $build"
  if ! cmake -S "$ringfold_root" -B "$build" "${generator[@]}" "$@" >"$log" 2>&1; then
    cat "$log"
    ringfold_stop "could not configure $build"
  fi
  sed -n 's/^-- ringfold/ringfold/p' "$log" | grep -E "${ringfold_notes:-.}" || true
}

set -euo pipefail
[ "${BASH_SOURCE[0]}" != "$0" ] || ringfold_setup "$@"

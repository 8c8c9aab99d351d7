#!/usr/bin/env bash
# Builds the engine with AddressSanitizer, UBSan and its own checks of every membrane, and runs its tests.
#
#   .ci/sanitize-engine.sh [folder for the build]
#
# Needs the "dev" extra in the environment of `python`. The package and its tests are copied beside the build, so that
# the installed module is left alone.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-}
if [ -z "$build" ]; then
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
fi
python=$(command -v python)

cmake -S "$root" -B "$build/cmake" -G Ninja -DPython_EXECUTABLE="$python" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DISOSPIKE_SANITIZE=ON -DISOSPIKE_CHECKS=ON
cmake --build "$build/cmake"

# Inline code that was compiled for one instruction set and is shared with others crashes where the linker keeps the
# wrong copy: a kernel's object must define nothing of that kind.
shared=$(find "$build/cmake" -name entry.cpp.o -exec nm -C --defined-only {} + | grep -E ' [VWu] ' | grep -v DW.ref || true)
if [ -n "$shared" ]; then
  echo "kernels: these symbols are shared between instruction sets: $shared" >&2
  exit 1
fi

rm -rf "$build/tree"
mkdir -p "$build/tree/src"
cp -r "$root/src/isospike" "$build/tree/src/"
cp -r "$root/tests" "$build/tree/"
cp "$root/pyproject.toml" "$build/tree/"
find "$build/tree" -name '_native*' ! -name '*.py' -delete
cp "$build"/cmake/_native*.so "$build/tree/src/isospike/engine/"

cd "$build/tree"
# The interpreter is not instrumented, so the runtime is loaded first, and what Python leaves allocated is no leak.
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
export PYTHONPATH="$build/tree/src:$build/tree" PYTHONMALLOC=malloc
python -c "from isospike.engine import native_module as n; assert n.require_native().checks, n._native.__file__"
python -m pytest tests/engine -p no:cacheprovider

#!/usr/bin/env bash
# Installs Killsync into .venv. usage: install.sh tools PYTHON | parser | runtime | dev | wheel
# What only builds (cmake, setuptools) has a virtual environment of its own, build/tools, and leaves nothing in .venv.
# Tartiflette compiles a C++ parser with cmake below 4: its wheel is built once, into build/wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=build/tools
export PIP_DISABLE_PIP_VERSION_CHECK=1
pinned=(-m pip --quiet install --no-deps --require-hashes)

# What pip and the compilers have to say is only of interest when something failed.
quietly() {
  if ! "$@" >build/install.log 2>&1; then
    cat build/install.log >&2
    echo "The installation failed; what was said stands above and in build/install.log" >&2
    exit 1
  fi
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

build_parser() {
  local wheels=build/wheels
  if compgen -G "$wheels/tartiflette-*.whl" >/dev/null && [ "$wheels/built" -nt requirements/runtime.lock ]; then return; fi
  rm -rf "$wheels" && mkdir -p "$wheels"
  # Its entry of the lock, so that the source has the hash it should have.
  awk '/^[a-z]/ { ours = /^tartiflette==/ } ours' requirements/runtime.lock >"$wheels/parser.lock"
  echo "Compiling the GraphQL parser (about a minute)"
  PATH="$PWD/$tools/bin:$PATH" quietly "$tools/bin/python" -m pip --quiet wheel --no-deps --no-build-isolation \
    --require-hashes --no-binary tartiflette --wheel-dir "$wheels" -r "$wheels/parser.lock"
  touch "$wheels/built"
}

case "$1" in
tools)
  python="$2"
  if ! new_enough "$python"; then
    for newer in python3.13 python3.12 python3.11; do
      if command -v "$newer" >/dev/null; then python="$newer"; break; fi
    done
  fi
  if ! new_enough "$python"; then
    echo "Killsync needs Python 3.11 or newer: install it, or name one with 'make PYTHON=/path/to/python3'" >&2
    exit 2
  fi
  if ! command -v "${CXX:-g++}" >/dev/null && ! command -v clang++ >/dev/null; then
    echo "Killsync needs a C++ compiler for its GraphQL parser: install g++ (Debian and Ubuntu: apt install g++)" >&2
    exit 2
  fi
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "This Python cannot make virtual environments (Debian and Ubuntu: apt install python3-venv)" >&2
    exit 2
  fi
  echo "Making .venv, and build/tools for what only builds"
  mkdir -p build
  # With the pip that came with this Python: a newer one comes from the lock, by its hash, like everything else.
  for place in .venv "$tools"; do "$python" -m venv "$place"; done
  quietly "$tools/bin/python" "${pinned[@]}" -r requirements/build.lock
  touch "$tools/installed"
  ;;
parser)
  build_parser
  ;;
runtime | dev)
  build_parser
  echo "Installing Killsync"
  quietly .venv/bin/python -m pip --quiet install --no-deps build/wheels/tartiflette-*.whl
  quietly .venv/bin/python "${pinned[@]}" -r "requirements/$1.lock"
  # Built by the tools, and put into .venv by its own pip: .venv needs no setuptools for it.
  quietly env PYTHONPATH="$(echo "$PWD/$tools"/lib/python3*/site-packages)" \
    .venv/bin/python -m pip --quiet install --no-deps --no-build-isolation -e .
  "$tools/bin/python" scripts/assets.py
  touch .venv/installed
  if [ "$1" = dev ]; then touch .venv/installed-dev; fi
  ;;
wheel)
  build_parser
  "$tools/bin/python" scripts/assets.py --required
  rm -rf dist build/lib build/bdist.*
  quietly "$tools/bin/python" -m pip --quiet wheel --no-deps --no-build-isolation --wheel-dir dist .
  "$tools/bin/python" scripts/parser_wheel.py build/wheels dist
  ls dist
  ;;
*)
  echo "usage: $0 tools PYTHON | parser | runtime | dev | wheel" >&2
  exit 2
  ;;
esac

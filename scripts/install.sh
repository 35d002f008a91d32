#!/usr/bin/env bash
# Installs Killsync into .venv. usage: install.sh tools PYTHON | runtime | dev
# Tartiflette compiles a C++ parser with cmake below 4, which comes from the lock of build tools.
set -euo pipefail
cd "$(dirname "$0")/.."
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes)

# What pip and the compilers have to say is only of interest when something failed.
quietly() {
  if ! "$@" >.venv/install.log 2>&1; then
    cat .venv/install.log >&2
    echo "The installation failed; what was said stands above and in .venv/install.log" >&2
    exit 1
  fi
}

case "$1" in
tools)
  python="$2"
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    for newer in python3.13 python3.12 python3.11; do
      if command -v "$newer" >/dev/null; then python="$newer"; break; fi
    done
  fi
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
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
  echo "Installing build tools into .venv"
  # With the pip that came with this Python: a newer one comes from the lock, by its hash, like everything else.
  "$python" -m venv .venv
  quietly "${pip[@]}" -r requirements/build.lock
  touch .venv/tools
  ;;
runtime | dev)
  echo "Installing Killsync (the first time this compiles its GraphQL parser: about a minute)"
  quietly "${pip[@]}" --no-build-isolation -r "requirements/$1.lock"
  quietly .venv/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e .
  .venv/bin/python scripts/assets.py
  touch .venv/installed
  if [ "$1" = dev ]; then touch .venv/installed-dev; fi
  ;;
*)
  echo "usage: $0 tools PYTHON | runtime | dev" >&2
  exit 2
  ;;
esac

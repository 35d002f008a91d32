#!/usr/bin/env bash
# Makes sure that the tests have a browser: uses the chromium that is there, else installs Debian's when this is root.
# Without one the browser tests skip and say so.
set -euo pipefail

if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || [ -n "${TEST_CHROMIUM:-}" ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "chromium is not installed: installing it"
  export DEBIAN_FRONTEND=noninteractive
  # The fonts are for letters of every script, without which pages are measured with boxes.
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null ||
    echo "chromium could not be installed: the browser tests will skip" >&2
else
  echo "chromium is not installed (Debian and Ubuntu: apt install chromium): the browser tests will skip" >&2
fi

#!/bin/sh
# Makes .venv ready: the packages of the lock and this one. Takes no time when it is ready.
#   sh workflow/setup.sh
# Needs Python 3.11 or newer with venv and pip, and a package index (any that pip is set to use).
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "setup: $*" >&2
  exit 1
}

# Prints the first Python that is new enough and can make a virtual environment.
find_python() {
  new=""
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      new="${new:-$python}"
      if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$python"
        return
      fi
    fi
  done
  if [ "$new" ]; then
    fail "$new has no venv. On Debian and Ubuntu: apt install python3-venv"
  fi
  fail "needs Python 3.11 or newer; python3 here: $(python3 --version 2>/dev/null || echo none)"
}

# What the environment was made from. The folder belongs to it: scripts in .venv/bin name it.
lock="$(cksum <envs/requirements.txt) $PWD"
project=$(cksum <pyproject.toml)

# The stamps are written last, so that an interrupted set-up is never taken for a finished one.
if [ "$(cat .venv/.lock 2>/dev/null)" != "$lock" ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
  python=$(find_python)
  echo "setup: installing the packages of envs/requirements.txt into .venv (about a minute)"
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --require-hashes --requirement envs/requirements.txt
  echo "$lock" >.venv/.lock
fi
if [ "$(cat .venv/.project 2>/dev/null)" != "$project" ]; then
  .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
  echo "$project" >.venv/.project
fi

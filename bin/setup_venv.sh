#!/usr/bin/env bash
# Makes .venv from requirements.txt; does nothing when it is up to date.
#
# PYTHON=/path/to/python3.11 chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly STAMP="$VENV/setup.stamp"

# What an up-to-date environment was made from: lock, package list, place.
state() {
  cat requirements.txt setup.cfg pyproject.toml bin/setup_venv.sh | cksum
  pwd
}

# Succeeds if the interpreter runs and is one of the supported versions.
suits() {
  "$1" -c 'import sys
sys.exit((3, 9) > sys.version_info[:2] or sys.version_info[:2] > (3, 11))' \
    >/dev/null 2>&1
}

has_venv() {
  "$1" -c 'import ensurepip, ssl, venv, zlib' >/dev/null 2>&1
}

candidates() {
  if [[ -n "${PYTHON:-}" ]]; then
    echo "$PYTHON"
    return
  fi
  local version
  for version in 3.11 3.10 3.9; do
    type -ap "python$version" || true
    # A pyenv shim may not run although the version is there.
    ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python \
      2>/dev/null || true
  done
  type -ap python3 python || true
}

find_python() {
  local candidate without_venv=''
  while read -r candidate; do
    suits "$candidate" || continue
    if has_venv "$candidate"; then
      echo "$candidate"
      return
    fi
    without_venv="${without_venv:-$candidate}"
  done < <(candidates)
  if [[ -n "$without_venv" ]]; then
    echo "error: $without_venv lacks the venv module; install it (on Debian" \
      "and Ubuntu: apt install python3-venv, or python3.11-venv) and run" \
      'this command again.' >&2
  else
    echo "error: no usable Python 3.11, 3.10 or 3.9 was found in" \
      "${PYTHON:-PATH or pyenv}; install Python 3.11 with its venv module, or" \
      'name one: make setup PYTHON=/path/to/python3.11.' >&2
  fi
  return 1
}

# Succeeds unless PYTHON names another interpreter than .venv was made with.
is_chosen() {
  local tell='import sys; print(sys.version, sys.base_prefix)'
  [[ -z "${PYTHON:-}" ]] \
    || [[ "$("$PYTHON" -c "$tell")" == "$("$VENV/bin/python" -c "$tell")" ]]
}

if [[ -f "$STAMP" && "$(cat "$STAMP")" == "$(state)" ]] \
    && "$VENV/bin/python" -c '' 2>/dev/null && is_chosen 2>/dev/null; then
  exit 0
fi

python="$(find_python)" || exit 2
echo "Setting up $VENV with $python (a few minutes the first time)."
rm -f "$STAMP"
# A left-over environment of another interpreter is made anew.
if ! { "$VENV/bin/python" -m pip --version >/dev/null 2>&1 \
    && suits "$VENV/bin/python" && is_chosen; }; then
  rm -rf "$VENV"
  "$python" -m venv "$VENV"
fi

install() {
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-build-isolation --no-deps "$@" && return
  echo "error: installing the pinned packages of requirements.txt into $VENV" \
    "failed (see above); check the network and free disk space, then run" \
    'this command again.' >&2
  exit 2
}

# The build tools come first: one dependency is only published as a source.
grep -E '^(setuptools|wheel)==' requirements.txt | install -r /dev/stdin
install -r requirements.txt
install -e .
state > "$STAMP"
echo "$VENV is ready."

#!/usr/bin/env bash
# Makes .venv-sb3 from requirements-benchmark.txt with the Python of .venv; does
# nothing when it is up to date. Failing, it says so and lets the benchmark run
# without that baseline.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv-sb3
readonly STAMP="$VENV/setup.stamp"

state() {
  cat requirements-benchmark.txt bin/setup_sb3.sh | cksum
  pwd
}

make_venv() {
  echo "Setting up $VENV for the comparison with stable-baselines3. Where pip" \
    'finds no torch for the CPU alone, this downloads gigabytes.'
  rm -rf "$VENV"
  .venv/bin/python -m venv "$VENV" \
    && "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
      -r requirements-benchmark.txt \
    && "$VENV/bin/python" -c 'import stable_baselines3'
}

if [[ -f "$STAMP" && "$(cat "$STAMP")" == "$(state)" ]]; then
  exit 0
fi
if make_venv; then
  state > "$STAMP"
else
  echo "stable-baselines3 could not be installed into $VENV (see above): its" \
    'line of the benchmark will be marked so.' >&2
fi

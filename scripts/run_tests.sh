#!/usr/bin/env bash
# Runs the whole test suite, a process on each core; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

python -m pytest -n auto --dist worksteal "$@"

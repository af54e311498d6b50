#!/usr/bin/env bash
# What has to pass before a commit: lint, format, types, tests.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

ruff check .
ruff format --check .
mypy
python -m pytest -n auto --dist worksteal "$@"

#!/usr/bin/env bash
# Table 4 on the miniature of Charades: makes it, trains and tests every row with three seeds, and writes docs/charades.md.
# Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

runs=runs/charades_miniature
python tools/make_miniature.py --charades
export OMP_NUM_THREADS=1 # One thread each: the same numbers however many cores there are, and the seeds side by side.
mkdir -p "$runs"
cores="$(python -c 'import os; print(min(3, os.cpu_count() or 1))')"
sweep() {
    echo "seed $1: what it says goes to $runs/seed_$1.log"
    python tools/train.py experiment=miniature/table4 seed="$1" runtime.runs="$runs" runtime.threads=1 runtime.workers=1 \
        >>"$runs/seed_$1.log" 2>&1 || fail "seed $1: see $runs/seed_$1.log"
}
export -f sweep fail
export runs
printf '%s\n' 0 1 2 | xargs -P "$cores" -I SEED bash -c 'sweep SEED'

python tools/report.py miniature/table4 "$runs" --out "$runs/reports" --into docs/charades.md --block table4
mkdir -p docs/charades
cp "$runs/reports/miniature_table4_classes.png" docs/charades/classes.png

#!/usr/bin/env bash
# The paper's tables on the miniature: trains and tests every row with three seeds, rows of several tables once, and
# writes docs/miniature.md. About an hour a seed on two CPU cores; run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

tables=(miniature/table2{a,b,c,d,e,f,g})
runs=runs/miniature_tables
python tools/make_miniature.py --tables

sweep() {
    echo "$1, seed $2: what it says goes to $runs/seed_$2.log"
    python tools/train.py experiment="$1" seed="$2" runtime.runs="$runs" runtime.threads=1 runtime.workers=1 \
        >>"$runs/seed_$2.log" 2>&1 || fail "$1, seed $2: see $runs/seed_$2.log"
}
export -f sweep fail
export runs OMP_NUM_THREADS=1 # One thread each: the same numbers on every machine, and the seeds side by side.

mkdir -p "$runs"
cores="$(python -c 'import os; print(min(3, os.cpu_count() or 1))')"
for table in "${tables[@]}"; do printf "$table %s\n" 0 1 2; done | xargs -P "$cores" -L 1 bash -c 'sweep "$0" "$1"'

python tools/report.py "${tables[@]}" "$runs" --metric top1 --findings --out "$runs/reports" \
    --into docs/miniature.md --block tables

#!/usr/bin/env bash
# Trains and tests the four small networks on both questions of the miniature with three seeds and writes the table into
# README.md. About half an hour on two CPU cores; what is finished already is reused.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

runs=runs/miniature
python tools/make_miniature.py
export OMP_NUM_THREADS=1 # One thread each: the same numbers however many cores there are, and the seeds side by side.
mkdir -p "$runs"
cores="$(python -c 'import os; print(min(3, os.cpu_count() or 1))')"
sweep() {
    echo "seed $1: what it says goes to $runs/seed_$1.log"
    python tools/train.py -m experiment=miniature/c2d,miniature/nl_c2d,miniature/i3d,miniature/nl_i3d \
        data=miniature_relation,miniature_motion seed="$1" test=full_10 runtime.runs="$runs" runtime.threads=1 \
        runtime.workers=1 >>"$runs/seed_$1.log" 2>&1 || fail "seed $1: see $runs/seed_$1.log"
}
export -f sweep fail
export runs
printf '%s\n' 0 1 2 | xargs -P "$cores" -I SEED bash -c 'sweep SEED'

python tools/report.py --rows choices.model --cols data.name --metric top1,train_top1 "$runs" --into README.md --block miniature

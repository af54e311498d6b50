# Sourced by the scripts of the miniatures: trains and tests with several seeds side by side, one thread each, so that the
# numbers are the same however many cores there are. Needs $runs, the folder of the runs.

export runs OMP_NUM_THREADS=1
mkdir -p "$runs"
cores="$(python -c 'import os; print(min(3, os.cpu_count() or 1))')"

train_line() {
    local log="$runs/seed_${1##*seed=}.log"
    echo "$1: what it says goes to $log"
    # shellcheck disable=SC2086  # A line is several settings.
    python tools/train.py $1 runtime.runs="$runs" runtime.threads=1 runtime.workers=1 >>"$log" 2>&1 || fail "$1: see $log"
}
export -f train_line fail

# Each line of its input is a command line of tools/train.py that ends with seed=N.
train_lines() { xargs -P "$cores" -I LINE bash -c 'train_line "LINE"'; }

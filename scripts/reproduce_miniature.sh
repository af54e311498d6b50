#!/usr/bin/env bash
# The paper's tables on the miniature: trains and tests every row with three seeds, rows of several tables once, and
# writes docs/miniature.md and docs/miniature_one_clip.md: the same networks tested as the paper does, and as they were
# trained. About an hour a seed on two CPU cores; run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

tables=(miniature/table2{a,b,c,d,e,f,g})
runs=runs/miniature_tables
python tools/make_miniature.py --tables

source scripts/seeds.sh
for table in "${tables[@]}"; do printf "experiment=$table seed=%s\n" 0 1 2; done | train_lines

one_clip() {
    [ -f "$1/test/1x1/report.json" ] || python tools/test.py run="$1" protocol=1x1 protocol.short_side=64 name=1x1 \
        runtime.threads=1 runtime.workers=1 >>"$runs/one_clip.log" 2>&1 || fail "$1: see $runs/one_clip.log"
}
export -f one_clip
printf '%s\n' "$runs"/miniature_narrow* | xargs -P "$cores" -I RUN bash -c 'one_clip RUN'

report() { python tools/report.py "${tables[@]}" "$runs" --metric top1 --findings "$@" --block tables; }
report --protocol full_10 --out "$runs/reports" --into docs/miniature.md
report --protocol 1x1 --out "$runs/reports/one_clip" --into docs/miniature_one_clip.md
# How the networks were validated while they trained is one picture for both pages.
sed -i 's|(miniature_one_clip/\(.*_validation\.png\))|(miniature/\1)|' docs/miniature_one_clip.md
rm docs/miniature_one_clip/*_validation.png

#!/usr/bin/env bash
# Table 4 on the miniature of Charades: makes it, trains and tests every row with three seeds, and writes docs/charades.md.
# Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

runs=runs/charades_miniature
python tools/make_miniature.py --charades

source scripts/seeds.sh
printf 'experiment=miniature/table4 seed=%s\n' 0 1 2 | train_lines

python tools/report.py miniature/table4 "$runs" --out "$runs/reports" --into docs/charades.md --block table4
mkdir -p docs/charades
cp "$runs/reports/miniature_table4_classes.png" docs/charades/classes.png

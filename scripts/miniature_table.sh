#!/usr/bin/env bash
# Trains and tests the four small networks on both questions of the miniature with three seeds and writes the table into
# README.md. About half an hour on two CPU cores; what is finished already is reused.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

runs=runs/miniature
python tools/make_miniature.py

source scripts/seeds.sh
networks=miniature/c2d,miniature/nl_c2d,miniature/i3d,miniature/nl_i3d
printf -- "-m experiment=$networks data=miniature_relation,miniature_motion test=full_10 seed=%s\n" 0 1 2 | train_lines

python tools/report.py --rows choices.model --cols data.name --metric top1,train_top1 "$runs" --into README.md --block miniature

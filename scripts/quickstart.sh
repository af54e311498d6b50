#!/usr/bin/env bash
# From nothing to two tested networks in some minutes on a CPU: C2D and NL-C2D on the miniature's
# relation question. Run again, it reuses what is there.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

python tools/make_miniature.py
for network in c2d nl_c2d; do
    python tools/train.py experiment=miniature/$network name=quickstart_$network test=full_10
done

echo
python tools/report.py --rows choices.model --cols data.name runs/quickstart_c2d runs/quickstart_nl_c2d
cat <<'TEXT'

Two squares appear, one after the other. "relation" asks whether they have the same colour: C2D, which
adds up local features, has to guess (50%); one non-local block compares all positions and knows.

TEXT
echo "Curves:   tensorboard --logdir runs"
echo "Reports:  runs/quickstart_*/test/full_10/report.json, and predictions.jsonl beside it"
echo "Next:     python tools/train.py --help"
echo "          (in a new shell: source $(python -c 'import sys; print(sys.prefix)')/bin/activate)"

#!/usr/bin/env bash
# Trains on all GPUs of this machine, one process each; on the CPU in one process:
#   bash scripts/train_machine.sh experiment=kinetics/nl_i3d_r50_8x8 name=nl
# PROCESSES is another number of them. Arguments go to tools/train.py. Ctrl-C saves and ends; the same command resumes.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/installed.sh

processes="${PROCESSES:-$(python -c 'import torch; print(max(1, torch.cuda.device_count()))')}"
exec python tools/train.py runtime.devices="$processes" "$@"

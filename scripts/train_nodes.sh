#!/usr/bin/env bash
# Trains on several machines that share a file system, by torchrun. The same command on each, but for NODE_RANK:
#   NODES=2 NODE_RANK=0 MASTER_ADDR=node0 bash scripts/train_nodes.sh experiment=kinetics/nl_i3d_r50_8x8 name=nl
#   NODES=2 NODE_RANK=1 MASTER_ADDR=node0 bash scripts/train_nodes.sh experiment=kinetics/nl_i3d_r50_8x8 name=nl
# Arguments go to tools/train.py. Also: MASTER_PORT, a free port of MASTER_ADDR (29400); PROCESSES a machine (its GPUs);
# RESTARTS (3), how often the processes of all machines start again at the newest checkpoint after one has died.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/installed.sh

is_number() { [[ "$1" =~ ^[0-9]+$ ]]; }
is_number "${NODES:-}" || fail "NODES: got '${NODES:-}', expected the number of machines"
is_number "${NODE_RANK:-}" && [ "$NODE_RANK" -lt "$NODES" ] ||
    fail "NODE_RANK: got '${NODE_RANK:-}', expected the number of this machine, 0 to $((NODES - 1))"
[ -n "${MASTER_ADDR:-}" ] || fail "MASTER_ADDR: not given, expected the name or address of machine 0"
processes="${PROCESSES:-$(python -c 'import torch; print(max(1, torch.cuda.device_count()))')}"

# The address by which this machine reaches machine 0, from the routing table: a machine's own name may lead to its
# loopback, and then all of them wait for ever.
address="$(python -c '
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect((sys.argv[1], 1))
    print(probe.getsockname()[0])
' "$MASTER_ADDR" 2>&1 | tail -n 1)" || fail "MASTER_ADDR: cannot find the way to '$MASTER_ADDR': $address"
if [ -z "${GLOO_SOCKET_IFNAME:-}" ] && command -v ip >/dev/null; then
    GLOO_SOCKET_IFNAME="$(ip -o -4 address show to "$address" | awk '{print $2; exit}')"
    export GLOO_SOCKET_IFNAME
fi
# Else torchrun sets it to 1, for the loader, too.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((($(nproc) + processes - 1) / processes))}"
# The signals that torchrun passes on, so that its processes save; an older one knows only its own four.
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2
# The store in which processes find one another is new at every start: else they may find those of before a restart.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

echo "machine $NODE_RANK of $NODES: $processes processes, $address${GLOO_SOCKET_IFNAME:+ ($GLOO_SOCKET_IFNAME)}," \
    "meeting at $MASTER_ADDR:${MASTER_PORT:-29400}"
is_host=false
[ "$NODE_RANK" -ne 0 ] || is_host=true
exec python -m torch.distributed.run \
    --nnodes="$NODES" --nproc-per-node="$processes" --max-restarts="${RESTARTS:-3}" \
    --rdzv-backend=c10d --rdzv-id=nonlocal_video --rdzv-endpoint="$MASTER_ADDR:${MASTER_PORT:-29400}" \
    --rdzv-conf="is_host=$is_host,read_timeout=600" --local-addr="$address" \
    tools/train.py "$@"

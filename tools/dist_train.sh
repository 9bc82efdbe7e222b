#!/usr/bin/env bash
# Train with several processes; on several machines, run it on each with NNODES and MASTER_ADDR.
# usage: [NNODES=2 MASTER_ADDR=HOST [PORT=29500]] [TORCHRUN_ARGS=...] \
#        tools/dist_train.sh CONFIG NUM_PROCESSES [options of tools/train.py]
set -euo pipefail
if [ $# -lt 2 ]; then sed -n 2,4p "$0"; exit 2; fi
config=$1; processes=$2; shift 2
nodes=(--standalone)  # one machine: any port that is free
if [ -n "${PORT:-}${NNODES:-}${MASTER_ADDR:-}" ]; then
    # With a shared store, processes that are restarted connect to the addresses of the previous ones.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    nodes=(--nnodes="${NNODES:-1}" --rdzv-backend=c10d --rdzv-id="${RDZV_ID:-uniformer-mm}"
        --rdzv-endpoint="${MASTER_ADDR:-127.0.0.1}:${PORT:-29500}")
fi
# TORCHRUN_ARGS is unquoted: it may hold several options.
exec torchrun "${nodes[@]}" --nproc-per-node="$processes" ${TORCHRUN_ARGS:-} \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"

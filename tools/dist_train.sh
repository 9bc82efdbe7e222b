#!/usr/bin/env bash
# Train with several processes; on several machines set NNODES, NODE_RANK and MASTER_ADDR.
# usage: tools/dist_train.sh CONFIG NUM_PROCESSES [options of tools/train.py]
set -euo pipefail
if [ $# -lt 2 ]; then sed -n 2,3p "$0"; exit 2; fi
config=$1; processes=$2; shift 2
nodes=(--standalone)  # one machine: any port that is free
if [ -n "${PORT:-}${NNODES:-}${MASTER_ADDR:-}" ]; then
    nodes=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi
exec torchrun "${nodes[@]}" --nproc_per_node="$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"

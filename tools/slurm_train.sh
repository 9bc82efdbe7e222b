#!/usr/bin/env bash
# Train on a Slurm cluster, one process per GPU (on CPUs: GRES= GPUS=PROCESSES).
# usage: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [GRES=gpu:8] [SRUN_ARGS=...] \
#        tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
set -euo pipefail
if [ $# -lt 4 ]; then sed -n 2,4p "$0"; exit 2; fi
partition=$1; job=$2; config=$3; work_dir=$4; shift 4
gpus=${GPUS:-8}; per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
gres=${GRES-gpu:$per_node}
# SRUN_ARGS is unquoted: it may hold several options.
exec srun -p "$partition" --job-name="$job" \
    ${gres:+--gres="$gres"} --ntasks="$gpus" --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$config" --work-dir "$work_dir" --launcher slurm "$@"

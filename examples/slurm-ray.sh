#!/usr/bin/env bash
# A Ray cluster inside a Slurm job, and a command on it: sbatch --nodes=2 examples/slurm-ray.sh wmtp eval config.yaml recipe.yaml
# The recipe has model.loader: ray (address: auto). Submitted again as it is, the job goes on where the first stopped.
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
set -euo pipefail

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one node do not meet
others=$((${#nodes[@]} - 1))

on_head() { srun --nodes=1 --ntasks=1 --overlap --nodelist="$head" "$@"; }

on_head ray start --head --port="$port" --block &
ray=$!
trap 'kill "$ray" 2> /dev/null || true' EXIT
until on_head ray status --address="$head:$port" > /dev/null 2>&1; do
    kill -0 "$ray" 2> /dev/null || { echo "Ray did not start on $head" >&2; exit 1; }
    sleep "${WAIT_S:-2}"
done
if ((others > 0)); then
    srun --nodes="$others" --ntasks="$others" --overlap --exclude="$head" ray start --address="$head:$port" --block &
fi
on_head env RAY_ADDRESS="$head:$port" "$@"

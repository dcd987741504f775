"""``examples/slurm-ray.sh`` beside commands that only say how they were called: there is no Slurm here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples/slurm-ray.sh"
SCONTROL = '[[ "$*" == "show hostnames $NODES" ]] && printf "%s\\n" $NAMES\n'
SRUN = """
echo "srun $*" >> "$LOG"
while [[ "$1" == --* ]]; do shift; done
exec "$@"
"""
RAY = """
case "$1 $2" in
    "start --head") [[ -n "$BROKEN" ]] && exit 1; touch "$LOG.up"; exec sleep 3 ;;
    status*) [[ -e "$LOG.up" ]] ;;
    start*) exec sleep 3 ;;
esac
"""


WMTP = """
until (($(grep -c "ray start" "$LOG") >= STARTS)); do sleep 0.05; done  # the other nodes are started beside it
echo "$RAY_ADDRESS $*"
exit 3
"""


def run(folder: Path, names: str, broken: str = "") -> tuple[int, list[str], str]:
    for name, body in (
        ("scontrol", SCONTROL),
        ("srun", SRUN),
        ("ray", RAY),
        ("wmtp", WMTP),
    ):
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}")
        (folder / name).chmod(0o755)
    log = folder / "log"
    job = {
        "SLURM_JOB_ID": "45007",
        "SLURM_JOB_NODELIST": "gpu[1-2]",
        "NODES": "gpu[1-2]",
        "NAMES": names,
        "STARTS": "2" if " " in names else "1",
        "BROKEN": broken,
    }
    environment = {**os.environ, **job, "LOG": str(log), "WAIT_S": "0.05", "PATH": f"{folder}:{os.environ['PATH']}"}
    command = ["bash", str(SCRIPT), "wmtp", "eval", "config.yaml", "recipe.yaml"]
    with (folder / "out").open("w") as out:  # a file: what stays behind in a job must not hold a pipe
        done = subprocess.run(
            command, env=environment, stdout=out, stderr=out, timeout=60, check=False, start_new_session=True
        )
    return done.returncode, log.read_text().splitlines(), (folder / "out").read_text()


@pytest.mark.parametrize("names", ["gpu1 gpu2 gpu3", "gpu1"])
def test_the_first_node_leads_the_others_join_and_the_command_runs_on_the_first(names: str, tmp_path: Path) -> None:
    status, calls, out = run(tmp_path, names)
    assert status == 3, "the command's own status is the job's"
    assert out == "gpu1:25007 eval config.yaml recipe.yaml\n"
    starts = [call for call in calls if "ray start" in call]
    assert starts[0] == "srun --nodes=1 --ntasks=1 --overlap --nodelist=gpu1 ray start --head --port=25007 --block"
    others = ["srun --nodes=2 --ntasks=2 --overlap --exclude=gpu1 ray start --address=gpu1:25007 --block"]
    assert starts[1:] == (others if " " in names else [])


def test_a_head_that_does_not_start_ends_the_job(tmp_path: Path) -> None:
    status, _, out = run(tmp_path, "gpu1 gpu2", broken="yes")
    assert (status, "Ray did not start on gpu1" in out) == (1, True)
    assert "eval" not in out

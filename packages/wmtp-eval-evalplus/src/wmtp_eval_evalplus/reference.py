"""What the reference answers: computed once, by a process of its own beside the judge's checker, and kept by digest."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wmtp
from wmtp_eval_evalplus.oracle import _NOT_NONE

VERSION = 1
SECONDS = 900.0


def answers(row: Mapping[str, Any], dataset: str) -> Mapping[str, Any]:
    """Return the reference's ``answers`` to the base and then the plus inputs, as source, and its CPU ``seconds``.

    Raises:
        ConfigError: the reference fails, or answers with what is no plain data.
    """
    job = {
        "version": VERSION,
        "python": sys.version_info[:2],
        "code": row["prompt"] + row["canonical_solution"],
        "entry_point": row["entry_point"],
        "inputs": repr([*(row["base_input"] or ()), *row["plus_input"]]),
        "not_none": dataset == "mbpp_plus" and row["entry_point"] in _NOT_NONE,
    }
    text = json.dumps(job)
    kept = _folder() / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    try:
        found: Mapping[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = _computed(text, row["task_id"])
        _keep(kept, found)
    return found


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "wmtp" / "evalplus"


def _computed(job: str, task_id: str) -> Mapping[str, Any]:
    command = [sys.executable, "-s", "-P", str(Path(__file__).with_name("compute.py"))]
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}  # as the judge has it: sets of words come in one order
    with tempfile.TemporaryDirectory(prefix="wmtp-evalplus-") as folder:
        try:
            done = subprocess.run(
                command,
                input=job,
                capture_output=True,
                text=True,
                encoding="utf-8",
                cwd=folder,
                env=environment,
                timeout=SECONDS,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise wmtp.ConfigError(f"{task_id}: its reference takes longer than {SECONDS:.0f} s") from None
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or [f"ended with status {error.returncode}"])[-1]
            raise wmtp.ConfigError(f"{task_id}: its reference gives no answers to compare with: {last[:300]}") from None
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def _keep(path: Path, found: Mapping[str, Any]) -> None:
    """Written beside and moved into place. A cache that cannot be written costs time and nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as file:
            json.dump(found, file)
        os.replace(file.name, path)
    except OSError:
        return

"""Which level holds where: as root, as an ordinary user, in user namespaces of several kinds, and where none are to be had."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wmtp
import wmtp.judging

LOOK = (
    "import json\nfrom wmtp.judging import checks\n"
    "print(json.dumps({c.name.removeprefix('judge: '): [c.ok, c.detail] for c in checks()}))"
)
PYTHON = "/usr/bin/python3.11"  # ours may be under a folder that only root may enter
USER = ["setpriv", "--reuid=51234", "--regid=51234", "--clear-groups"] if os.geteuid() == 0 else []
REFUSED = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
BESIDE = 'for _ in $(seq 100); do sleep 30 >/dev/null 2>&1 & done; exec "$@"'
SITUATIONS = {
    "an ordinary user": [],
    "one who runs much else": ["sh", "-c", BESIDE, "sh"],
    "root of a user namespace, alone in it": ["unshare", "--user", "--map-root-user"],
    "an ordinary user of a user namespace": ["unshare", "--user", "--map-user=1000", "--map-group=1000"],
    "a user namespace that maps nobody": ["unshare", "--user"],
    "namespaces refused": ["unshare", "--user", "--map-root-user", "sh", "-c", REFUSED, "sh"],
}
HOLDS = list(SITUATIONS)[:4]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_level_that_holds_is_said_plainly(situation: str) -> None:
    command = [*USER, *SITUATIONS[situation]]
    if any(shutil.which(name) is None for name in ("unshare", "setpriv")):
        pytest.skip("no util-linux")
    libraries = [str(Path(wmtp.__file__).parents[1]), *(path for path in sys.path if path.endswith("site-packages"))]
    environment = {"PYTHONPATH": ":".join(libraries), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}

    def run(source: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, PYTHON, "-c", source], env=environment, capture_output=True, text=True, check=False, cwd="/"
        )

    probe = run("import attr, wmtp.judging")
    if probe.returncode:
        pytest.skip(f"this situation is not to be had here: {probe.stderr[-200:]}")
    ended = run(LOOK)
    assert ended.stdout, ended.stderr
    found = json.loads(ended.stdout)
    assert found["process"] == [True, ""], found
    assert found["strict"][0] is (situation in HOLDS), found["strict"]
    if situation not in HOLDS:
        assert "unshare" in found["strict"][1]
        assert "--judge process" in found["strict"][1]


def test_the_judges_own_modules_are_compiled_where_ours_are_and_what_a_program_imports_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    with wmtp.judging.open_judge(level="process", workers=1) as judge:
        code = "import sys, colorsys\ndef f(): return sys.pycache_prefix, sys.dont_write_bytecode\n"
        outcome = judge.submit(code, wmtp.CallTests(tests=("assert f() == (None, True)",))).result()
    assert outcome.passed, outcome
    written = {path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc")}
    assert {"zygote", "checker", "first_steps"} <= written
    assert "colorsys" not in written

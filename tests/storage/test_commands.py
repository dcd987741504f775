"""``wmtp upload``, ``wmtp fetch``, ``wmtp cache`` and ``wmtp doctor`` with a real server; and what none of them ever shows."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from s3_servers import S3Server
from storage_helpers import opened, put

from wmtp.storage.cache import Cache

Write = Callable[..., dict[str, Any]]


@pytest.fixture
def write_config(section: Callable[..., dict[str, Any]], swift: S3Server, tmp_path: Path) -> Write:
    def write(**changes: Any) -> dict[str, Any]:
        s3 = {**section(swift), **changes.pop("s3", {})}
        body = {"storage": {"mode": "s3", "s3": s3}, "judging": {"level": "process"}, **changes}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
        return s3

    return write


@pytest.fixture
def wmtp(wmtp: Any) -> Any:
    """The command with the credentials that `section` has put into the environment meanwhile."""

    def run(*arguments: str, **env: str) -> Any:
        now = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return wmtp(*arguments, **{**now, **env})

    return run


def test_a_run_goes_up_whole_and_comes_back(wmtp: Any, write_files: Any, write_config: Write, tmp_path: Path) -> None:
    write_files()
    assert wmtp("eval", "config.yaml", "recipe.yaml").returncode == 0
    section = write_config()
    up = wmtp("upload", "runs/run", "--config", "config.yaml")
    assert up.returncode == 0, up.stderr
    assert "s3: runs/run" in up.stdout
    keys = [entry.key for entry in opened(section).list("runs/run/")]
    sent = {p.relative_to(tmp_path / "runs").as_posix() for p in (tmp_path / "runs/run").rglob("*") if p.is_file()}
    assert set(keys) == {f"runs/{name}" for name in sent if not name.endswith(".lock")} | {
        "runs/run/wmtp-manifest.json"
    }
    url = f"s3://{section['bucket']}/{section['prefix']}runs/run/"
    down = wmtp("fetch", url, "--config", "config.yaml")
    assert down.returncode == 0, down.stderr
    folder = Path(down.stdout.split(" (from")[0])
    for name in ("results.json", "samples/mbpp-v1.jsonl"):
        assert (tmp_path / folder / name).read_bytes() == (tmp_path / "runs/run" / name).read_bytes()


def test_a_checkpoint_that_went_up_is_a_model(wmtp: Any, write_config: Write, tmp_path: Path, tiny_llama: Path) -> None:
    write_config()
    up = wmtp("upload", str(tiny_llama), "--model", "our/tiny", "--config", "config.yaml")
    assert up.returncode == 0, up.stderr
    down = wmtp("fetch", "our/tiny", "--config", "config.yaml")
    assert down.returncode == 0, down.stderr
    assert "(from storage:s3" in down.stdout


def test_where_an_upload_goes_must_be_said(wmtp: Any, write_config: Write, tmp_path: Path, tiny_llama: Path) -> None:
    section = write_config()
    for arguments, says in (
        ((str(tiny_llama), "--config", "config.yaml"), "is no run directory; say where it goes"),
        ((str(tiny_llama), "--model", "a/b"), "storage.mode is local"),
        ((str(tiny_llama), "--to", "gopher://a/b"), "unknown URL scheme"),
        ((str(tiny_llama), "--to", "x", "--model", "y"), "give one"),
        ((str(tiny_llama), "--to", "a/../b", "--config", "config.yaml"), "'..' parts"),
    ):
        done = wmtp("upload", *arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert says in done.stderr
    assert list(opened(section).list("")) == []


def test_doctor_checks_credentials_bucket_and_prefix(
    wmtp: Any, write_config: Write, swift: S3Server, tmp_path: Path, wmtp_env: dict[str, str]
) -> None:
    def told(**env: str) -> dict[str, Any]:
        done = wmtp("doctor", "config.yaml", "--json", **env)
        assert done.returncode == 0, done.stderr
        return {check["name"]: check for check in json.loads(done.stdout)["storage"]}

    section = write_config()
    where = f"s3: s3://{section['bucket']}/here/"
    found = told()
    assert found["s3: credentials"]["ok"] is True
    assert found[where] == {"name": where, "ok": True, "detail": "reachable; nothing under the prefix yet"}
    assert "s3: versions" not in found
    put(opened(section), "k", b"x")
    swift.client().put_bucket_versioning(Bucket=section["bucket"], VersioningConfiguration={"Status": "Enabled"})
    found = told()
    assert found[where]["detail"] == ""
    assert "versioned: true" in found["s3: versions"]["detail"]
    wrong = told(AWS_SECRET_ACCESS_KEY="wrong")
    assert wrong["s3: credentials"]["ok"] is True
    assert wrong[where]["ok"] is False
    none = told(
        AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/dev/null",
        AWS_SHARED_CREDENTIALS_FILE="/dev/null",
    )  # fmt: skip
    assert none["s3: credentials"]["ok"] is False
    write_config(s3={"bucket": "no-such-bucket-here"})
    (absent,) = [check for name, check in told().items() if "no-such-bucket" in name]
    assert "NoSuchBucket" in absent["detail"]


def test_the_cache_is_held_to_its_size(wmtp: Any, write_config: Write, tmp_path: Path) -> None:
    section = write_config(paths={"cache": "cache", "cache_size": "3M"})
    storage = opened(section)
    for name in ("a", "b", "c"):
        put(storage, f"models/our--{name}/w.bin", os.urandom(1 << 20) + b"x")
    cache = Cache(tmp_path / "cache")
    for name in ("a", "b", "c"):
        assert wmtp("fetch", f"our/{name}", "--config", "config.yaml").returncode == 0
        for entry in cache.entries():  # used two hours ago
            then = entry.used - 7200
            os.utime(entry.folder / "manifest.json", (then, then))
    assert len(list(cache.entries())) == 2, "the oldest made room"
    assert wmtp("cache", "prune", "config.yaml").stdout.startswith("removed 0 entries")
    assert wmtp("cache", "prune", "config.yaml", "--keep", "1100K").stdout.startswith("removed 1 entries")
    assert "every entry is" in wmtp("cache", "verify", "config.yaml").stdout
    (entry,) = cache.entries()
    with (entry.path / "w.bin").open("r+b") as file:
        file.write(b"\0\1\2\3\4")
    damaged = wmtp("cache", "verify", "config.yaml")
    assert damaged.returncode == 1
    assert "w.bin: its content has changed" in damaged.stdout
    bad = wmtp("config", "check", "config.yaml", "--set", "paths.cache_size=lots")
    assert bad.returncode == 2
    assert "is no size" in bad.stderr


def test_a_terminal_sees_bytes_and_their_speed(
    write_config: Write, tmp_path: Path, wmtp_env: dict[str, str], wmtp: Any
) -> None:
    section = write_config()
    put(opened(section), "models/our--m/w.bin", os.urandom(12 << 20))
    quiet = wmtp("fetch", "our/m", "--config", "config.yaml")
    assert quiet.returncode == 0
    assert quiet.stderr == ""
    assert wmtp("cache", "prune", "config.yaml").returncode == 0
    ours, theirs = pty.openpty()
    environment = {**wmtp_env, **{k: v for k, v in os.environ.items() if k.startswith("AWS_")}, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "wmtp", "fetch", "our/m", "--config", "config.yaml"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # a terminal whose other end is closed
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "fetching" in text
    assert re.search(r"[\d.]+/12\.6 MB", text)
    assert re.search(r"[\d.]+ [kMG]?B/s", text)


SECRETS = ("AKIATHEKEYOFTHESETESTS", "TheSecretOfTheseTests/+x", "TheTokenOfTheseTests==")


def test_no_credential_is_ever_written_or_told(
    wmtp: Any, write_files: Any, section: Callable[..., dict[str, Any]], moto: S3Server, tmp_path: Path, swift: S3Server
) -> None:
    """Runs that work and runs that fail; then everything that they said and left is searched."""
    right = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), SECRETS, strict=True))
    s3 = section(moto)
    write_files(
        config={"storage": {"mode": "s3", "s3": s3}, "paths": {"cache": "cache"}, "judging": {"level": "process"}}
    )
    put(opened(s3), "datasets/mbpp/mbpp.jsonl", (tmp_path / "problems.jsonl").read_bytes())
    said = []

    def run(*arguments: str, status: int = 0) -> None:
        done = wmtp(*arguments, "--debug", **right)
        assert (done.returncode == 0) is (status == 0), done.stderr
        said.append(done.stdout + done.stderr)

    run("eval", "config.yaml", "recipe.yaml")
    assert json.loads((tmp_path / "runs/run/results.json").read_text())["provenance"]["data"]["mbpp"][
        "source"
    ].startswith("storage:s3")
    run("upload", "runs/run", "--config", "config.yaml")
    run("doctor", "config.yaml")
    run("config", "check", "config.yaml", "recipe.yaml", "--json")
    run("cache", "list", "config.yaml", "--json")
    refused = {**s3, "endpoint_url": swift.url}  # does not know these credentials
    for changed in (refused, {**s3, "bucket": "no-such-bucket-here"}, {**s3, "endpoint_url": "http://127.0.0.1:9"}):
        write_files(
            config={
                "storage": {"mode": "s3", "s3": changed},
                "paths": {"cache": "other"},
                "judging": {"level": "process"},
            }
        )
        run("eval", "config.yaml", "recipe.yaml", "--set", "run.name=failed", status=2)
        run("fetch", "our/model", "--config", "config.yaml", status=2)
        run("doctor", "config.yaml")
        run("upload", "runs/run", "--config", "config.yaml", status=1)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    for secret in SECRETS:
        assert not any(secret in text for text in said)
        assert not any(secret.encode() in data for data in written)

"""The hub end of the chain, against a small hub on loopback: real HTTP, the client's own cache, nothing mocked."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import pytest

MODEL = "facebook/multi-token-prediction"


@attrs.define
class Repository:
    """Files by name at each commit; branches and tags by name."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    gated: bool = False


class Hub(ThreadingHTTPServer):
    """Repositories by ``models/owner/name`` or ``datasets/owner/name``. `requests` are those seen: (method, path)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.cut_after: int | None = None
        self.before_file: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no news."""

    def files_sent(self) -> list[str]:
        return [path.rpartition("/")[2] for method, path in self.requests if method == "GET" and "/resolve/" in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        kind, owner, name, verb, revision, file = self._parts(path)
        repository = self.server.repositories.get(f"{kind}/{owner}/{name}")
        if repository is None:
            self._answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            return
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            self._answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
            return
        files = repository.commits[commit]
        if verb == "revision":
            siblings = [{"rfilename": f, "size": len(data)} for f, data in files.items()]
            body = {"id": f"{owner}/{name}", "sha": commit, "siblings": siblings, "private": False, "tags": []}
            self._answer(200, json.dumps(body).encode(), Content_Type="application/json")
        elif verb == "tree":
            rows = [{"type": "file", "path": f, "size": len(d), "oid": _oid(d)} for f, d in files.items()]
            self._answer(200, json.dumps(rows).encode(), Content_Type="application/json")
        elif repository.gated and not self.headers.get("Authorization"):
            self._answer(401, X_Error_Code="GatedRepo", X_Error_Message=f"Access to {owner}/{name} is restricted")
        else:
            self._file(commit, files[file])

    def _parts(self, path: str) -> list[str]:
        """kind, owner, name, verb, revision, file."""
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            return [*parts[1:6], "/".join(parts[6:])]
        kind = ["datasets"] if parts[0] == "datasets" else ["models"]
        rest = parts[1:] if parts[0] == "datasets" else parts
        return [*kind, *rest[:4], "/".join(rest[4:])]

    def _file(self, commit: str, data: bytes) -> None:
        start = 0
        if (wanted := self.headers.get("Range", "")).startswith("bytes="):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        if self.command == "GET":
            self.server.before_file()
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{_oid(data)}"')
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.cut_after is not None and len(data) - start > self.server.cut_after:
            self.wfile.write(data[start : start + self.server.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(data[start:])


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def online(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """The environment of a command that talks to this hub, with a cache of its own."""
    return {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "3", "HF_HUB_ETAG_TIMEOUT": "3",
    }  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def model(hub: Hub, shared: Path) -> Repository:
    made = Repository({"a" * 40: files_of(shared / "data/meta-mtp-tiny")}, {"main": "a" * 40})
    hub.repositories[f"models/{MODEL}"] = made
    return made


def test_the_default_model_comes_from_the_hub_and_answers(
    hub: Hub,
    model: Repository,
    online: dict[str, str],
    tmp_path: Path,
    wmtp: Any,
    write_files: Any,
    same_as_reference: Any,
) -> None:
    """No base_id at all: the default model and variant, three of the repository's files, and then none at all."""
    write_files(run={"name": "default"})
    recipe = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(recipe.replace("base_id: 'reference:'", "base_id: null"), encoding="utf-8")
    arguments = ("eval", "config.yaml", "recipe.yaml", "--set", "eval.evaluators={mbpp-v1: {shots: 0}}",
                 "--set", "eval.sampling.max_new_tokens=8", "--set", "eval.metrics=[mbpp_exact]")  # fmt: skip
    done = wmtp(*arguments, "--json", **online)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["provenance"]["model"]["id"] == MODEL
    assert body["provenance"]["model"]["revision"] == "a" * 40
    assert body["provenance"]["model"]["variant"] == "7B_1T_4"
    assert body["generation"]["tokens"] > 0
    assert sorted(hub.files_sent()) == ["consolidated.pth", "params.json", "tokenizer.model"]
    (snapshot,) = (tmp_path / "hf/hub").glob("models--*/snapshots/*")
    same_as_reference(snapshot, "7B_1T_4")

    hub.requests.clear()
    offline = wmtp(*arguments, "--set", "run.name=offline", "--json", **online | {"HF_HUB_OFFLINE": "1"})
    assert offline.returncode == 0, offline.stderr
    assert hub.requests == []
    assert (
        json.loads(offline.stdout)["provenance"]["model"]["weights_sha256"]
        == body["provenance"]["model"]["weights_sha256"]
    )
    again = wmtp(*arguments, "--set", "run.name=again", "--json", **online)
    assert again.returncode == 0, again.stderr
    assert hub.files_sent() == [], "a complete snapshot is not fetched again"


def test_a_gated_repository_says_what_to_accept_and_where_the_token_goes(
    hub: Hub, model: Repository, online: dict[str, str], wmtp: Any
) -> None:
    model.gated = True
    done = wmtp("fetch", MODEL, **online)
    assert done.returncode != 0
    for text in (MODEL, "gated", "accept its conditions", "hf auth login", "HF_TOKEN"):
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    token = "hf_a_token_that_is_secret"
    allowed = wmtp("fetch", MODEL, HF_TOKEN=token, **online)
    assert allowed.returncode == 0, allowed.stderr
    assert token not in allowed.stdout + allowed.stderr


def test_a_repository_or_revision_that_is_not_there(
    hub: Hub, model: Repository, online: dict[str, str], wmtp: Any, write_files: Any
) -> None:
    missing = wmtp("fetch", "nobody/nothing", **online)
    assert missing.returncode != 0
    assert "no model repository 'nobody/nothing', or it is private" in missing.stderr
    write_files()
    wrong = wmtp("eval", "config.yaml", "recipe.yaml", "--set", f"model={{base_id: {MODEL}, revision: v9}}", **online)
    assert wrong.returncode != 0
    assert f"{MODEL} has no revision 'v9'" in wrong.stderr


def test_a_branch_that_moves_meanwhile_mixes_nothing(
    hub: Hub, model: Repository, online: dict[str, str], tmp_path: Path, wmtp: Any
) -> None:
    """The commit is resolved once; every file comes from it, whatever main points at by then."""
    other = {name: data[::-1] for name, data in model.commits["a" * 40].items()}
    model.commits["b" * 40] = other
    hub.before_file = lambda: model.refs.update(main="b" * 40)
    done = wmtp("fetch", MODEL, **online)
    assert done.returncode == 0, done.stderr
    (snapshot,) = (tmp_path / "hf/hub").glob("models--*/snapshots/*")
    assert snapshot.name == "a" * 40
    for name, data in files_of(snapshot).items():
        assert data == model.commits["a" * 40][name]
    moved = wmtp("fetch", MODEL, **online)
    assert moved.returncode == 0, moved.stderr
    assert "b" * 40 in moved.stdout


def test_a_cut_connection_is_told_or_mended_and_never_a_wrong_file(
    hub: Hub, model: Repository, online: dict[str, str], tmp_path: Path, wmtp: Any
) -> None:
    hub.cut_after = 20_000
    cut = wmtp("fetch", MODEL, **online)
    if cut.returncode:
        assert "Traceback" not in cut.stderr
        assert "hub" in cut.stderr
    hub.cut_after = None
    done = wmtp("fetch", MODEL, **online)
    assert done.returncode == 0, done.stderr
    (snapshot,) = (tmp_path / "hf/hub").glob("models--*/snapshots/*")
    for name, data in files_of(snapshot).items():
        assert data == model.commits["a" * 40][name]


def test_an_unreachable_hub_is_told(hub: Hub, online: dict[str, str], wmtp: Any) -> None:
    done = wmtp("fetch", MODEL, **online | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode != 0
    assert "the hub cannot be reached" in done.stderr


def test_a_data_set_comes_from_the_hub(
    hub: Hub, online: dict[str, str], tmp_path: Path, wmtp: Any, write_files: Any
) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    write_files()
    rows = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text(encoding="utf-8").splitlines()]
    splits = {"prompt": rows[:3], "test": rows[3:], "train": rows[3:4], "validation": rows[3:4]}
    made = tmp_path / "made"
    made.mkdir()
    for split, some in splits.items():
        parquet.write_table(pa.Table.from_pylist(some), made / f"{split}-00000-of-00001.parquet")
    files = {f"full/{name}": data for name, data in files_of(made).items()} | {"README.md": b"x"}
    hub.repositories["datasets/google-research-datasets/mbpp"] = Repository({"c" * 40: files}, {"main": "c" * 40})
    (tmp_path / "config.yaml").write_text("judging: {level: process}\n", encoding="utf-8")
    done = wmtp("eval", "config.yaml", "recipe.yaml", "--json", **online)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["metrics"]["mbpp_exact"]["value"] == 1.0
    assert body["metrics"]["mbpp_exact"]["problems"] == 6
    assert body["provenance"]["data"]["mbpp"]["version"] == "c" * 40
    assert "README.md" not in hub.files_sent()


def test_a_sharded_model_comes_from_the_hub_and_answers(
    hub: Hub, online: dict[str, str], tmp_path: Path, wmtp: Any, write_files: Any
) -> None:
    """The demo's model in shards: an index and all of its parts."""
    from wmtp.models.mtp_llama import MtpLlamaForCausalLM

    source = Path(__file__).parents[1] / "examples/demo-model"
    folder = tmp_path / "sharded"
    MtpLlamaForCausalLM.from_pretrained(source).save_pretrained(folder, max_shard_size="1MB")
    for path in source.glob("tokenizer*"):
        shutil.copy(path, folder)
    assert len(list(folder.glob("*.safetensors"))) > 3
    hub.repositories["models/our/sharded"] = Repository({"d" * 40: files_of(folder)}, {"main": "d" * 40})
    write_files(problems=2)
    arguments = ("--set", "eval.evaluators={mbpp-v1: {shots: 0}}", "--set", "eval.sampling.max_new_tokens=40", "--json")
    done = wmtp("eval", "config.yaml", "recipe.yaml", "--set", "model.base_id=our/sharded", *arguments, **online)
    assert done.returncode == 0, done.stderr
    whole = wmtp("eval", "config.yaml", "recipe.yaml", "--set", f"model.base_id={source}", "--set", "run.name=whole",
                 *arguments, **online)  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    name = Path("samples/mbpp-v1.jsonl")
    texts = [
        [json.loads(line)["completion"] for line in (tmp_path / "runs" / run / name).read_text("utf-8").splitlines()]
        for run in ("run", "whole")
    ]
    assert texts[0] == texts[1]
    assert any(texts[0])

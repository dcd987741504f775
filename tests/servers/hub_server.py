"""A small hub on loopback: enough of the Hugging Face Hub's protocol for its client to fetch repositories."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs


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
        self.bad_token: str | None = None
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
        if self.server.bad_token and self.headers.get("Authorization") == f"Bearer {self.server.bad_token}":
            self._answer(401, X_Error_Message="Invalid credentials in Authorization header")
            return
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


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

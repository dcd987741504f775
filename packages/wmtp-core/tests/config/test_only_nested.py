"""Only the nested form of the storage section exists: its flat ancestors are refused, migrated or documented as gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from wmtp.config.source import is_secret

ROOT = next(p for p in Path(__file__).parents if (p / "examples").is_dir())
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".jsonl", ".txt", ".sh", ""}
# Where the flat keys may be named, because that place refuses them, rewrites them, or says that they are gone.
ALLOWED = (
    "CHANGELOG.md",
    "docs/",
    "packages/wmtp-core/src/wmtp/cli/config.py",
    "packages/wmtp-core/src/wmtp/config/flat.py",
    "packages/wmtp-core/src/wmtp/config/migrate.py",
    "packages/wmtp-core/tests/",
    "packages/wmtp-s3/",
    "tests/",
)


def sources():
    for top in ("docs", "examples", "packages", "tests", "benchmarks", ".ci"):
        yield from (ROOT / top).rglob("*")
    yield from ROOT.glob("*")


def test_flat_keys_occur_only_where_they_are_refused():
    found = set()
    for path in sources():
        if path.is_file() and path.suffix in SUFFIXES and path.stat().st_size < 2**20:
            text = path.read_text(encoding="utf-8", errors="replace")
            if "storage_mode" in text or "s3_config" in text:
                found.add(path.relative_to(ROOT).as_posix())
    assert "packages/wmtp-core/src/wmtp/config/flat.py" in found, "this test looks in the wrong place"
    assert {name for name in found if not name.startswith(ALLOWED)} == set()


@pytest.mark.parametrize(
    "key", ["secret_access_key", "aws_access_key_id", "session_token", "hf_token", "password", "api_key"]
)
def test_names_of_secrets(key):
    assert is_secret(key)


@pytest.mark.parametrize("key", ["max_new_tokens", "bucket", "key_file", "tokenizer", "region", 3])
def test_other_names(key):
    assert not is_secret(key)

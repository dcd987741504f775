"""`create_s3_manager`: a storage from a nested configuration, or a warning that says what is wrong, and ``None``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from s3_servers import S3Server

import wmtp
from wmtp_s3 import S3Settings, create_s3_manager


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (7, "not a mapping"),
        (None, "not a mapping"),
        ({}, "no section storage"),
        ({"storage_mode": "s3", "s3_config": {"bucket": "b"}}, "flat keys are gone"),
        ({"storage": {"mode": "s3", "s3": {"bucket": "b"}}, "s3_config": {}}, "flat keys are gone"),
        ({"storage": "s3"}, "no section storage"),
        ({"storage": {"mode": "s3", "s3": {"bucket": "b", "versioned": "no"}}}, "versioned"),
        ({"storage": {"mode": "s3", "s3": {"bucket": "b", "retries": 0}}}, "retries"),
        ({"storage": {"mode": "s3", "s3": {"bucket": "b", "addressing_style": "sideways"}}}, "addressing_style"),
        ({"storage": {"mode": "local"}}, "'local', not 's3'"),
        ({"storage": {"mode": "s3"}}, "no section storage.s3"),
        ({"storage": {"mode": "s3", "s3": {}}}, "bucket"),
        ({"storage": {"mode": "s3", "s3": {"bucket": 5}}}, "bucket"),
        (
            {"storage": {"mode": "s3", "s3": {"bucket": "b", "prefix": "../x"}}},
            "prefix.*must be a folder of the bucket",
        ),
        (
            {"storage": {"mode": "s3", "s3": {"bucket": "b", "prefix": "a//b"}}},
            "prefix.*must be a folder of the bucket",
        ),
        (
            {"storage": {"mode": "s3", "s3": {"bucket": "b", "prefix": "a\\b"}}},
            "prefix.*must be a folder of the bucket",
        ),
        (
            {"storage": {"mode": "s3", "s3": {"bucket": "b", "endpoint_url": "http://u:SESAME@h"}}},
            "must be a bare address",
        ),
        ({"storage": {"mode": "s3", "s3": {"bucket": "b", "regoin": "x"}}}, "region"),
    ],
)
def test_a_bad_configuration_is_a_warning_and_none(config: Any, says: str) -> None:
    with pytest.warns(UserWarning, match=says) as told:
        assert create_s3_manager(config) is None
    assert not any("SESAME" in str(warning.message) for warning in told)


@pytest.mark.parametrize("mode", ["local", "s3"])
def test_a_password_in_the_address_reaches_no_file_and_no_message(
    mode: str, wmtp: Any, write_files: Any, tmp_path: Path
) -> None:
    """A section that is not selected is kept as it is written, so that the password would be in every file of a run."""
    s3 = {"bucket": "b", "endpoint_url": "http://user:SESAME@127.0.0.1:9"}
    data = {"datasets": {"mbpp_local": "problems.jsonl"}}
    write_files(config={"storage": {"mode": mode, "s3": s3}, "paths": data, "judging": {"level": "process"}})
    configuration = tmp_path / "config.yaml"
    done = wmtp("eval", "config.yaml", "recipe.yaml")
    assert done.returncode == (0 if mode == "local" else 2), done.stderr
    assert "must be a bare address" in done.stderr
    assert "SESAME" not in done.stdout + done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != configuration]
    assert not [path for path in written if b"SESAME" in path.read_bytes()]
    assert (tmp_path / "runs/run/results.json").exists() is (mode == "local")


def test_a_prefix_may_stand_with_and_without_slashes() -> None:
    for written, kept in (("", ""), ("/", "/"), ("a/b", "a/b/"), ("/a/b/", "a/b/")):
        assert S3Settings(bucket="b", prefix=written).prefix == kept


def test_a_mapping_or_an_environment_is_a_configuration(
    plugins: wmtp.Plugins, section: Callable[..., dict[str, Any]], moto: S3Server
) -> None:
    nested = {"storage": {"mode": "s3", "s3": section(moto)}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for config in (nested, wmtp.load_config(nested, plugins=plugins)):
            made = create_s3_manager(config)
            assert made is not None
            assert list(made.list("")) == []
    with pytest.warns(UserWarning, match="'local', not 's3'"):
        assert create_s3_manager(wmtp.load_config({}, plugins=plugins)) is None


def test_every_setting_reaches_the_client(section: Callable[..., dict[str, Any]], moto: S3Server) -> None:
    made = create_s3_manager(
        {
            "storage": {
                "mode": "s3",
                "s3": {
                    **section(moto),
                    "request_checksum_calculation": "when_supported",
                    "response_checksum_validation": "when_supported",
                    "retries": 7,
                    "connect_timeout": 3.0,
                    "read_timeout": 4.0,
                    "max_connections": 5,
                },
            }
        }
    )
    assert made is not None
    config = made._client.meta.config
    assert config.request_checksum_calculation == "when_supported"
    assert config.response_checksum_validation == "when_supported"
    assert config.retries["total_max_attempts"] == 7
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (3.0, 4.0, 5)
    assert config.s3["addressing_style"] == "path"


def test_the_settings_that_the_page_shows_are_the_settings(plugins: wmtp.Plugins) -> None:
    page = (Path(__file__).parents[2] / "docs/storage.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(page.split("```yaml")[1].split("```")[0])
    config = wmtp.load_config(shown, plugins=plugins)
    assert set(shown["storage"]["s3"]) == {field.name for field in attrs.fields(S3Settings)}
    defaults = attrs.asdict(S3Settings(bucket="b"))
    for name in set(defaults) - {"bucket", "region", "prefix"}:
        assert getattr(config.storage.settings, name) == defaults[name], name
    assert config.paths.cache_bytes == 200 << 30


def test_what_boto3_does_not_take_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"storage": {"mode": "s3", "s3": {"bucket": "b", "endpoint_url": "not a url"}}}
    with pytest.warns(UserWarning, match="opening s3://b: Invalid endpoint"):
        assert create_s3_manager(config) is None


def test_a_bucket_that_is_not_there_is_told(section: Callable[..., dict[str, Any]], moto: S3Server) -> None:
    made = create_s3_manager({"storage": {"mode": "s3", "s3": {**section(moto), "bucket": "no-such-bucket-here"}}})
    assert made is not None
    with pytest.raises(OSError, match="NoSuchBucket"):
        list(made.list(""))

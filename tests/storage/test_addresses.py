"""An ``s3://`` reference is a bucket and a key, as they stand: no character of a key means anything."""

from __future__ import annotations

import pytest

import wmtp
import wmtp_s3.plugin
from wmtp_s3.settings import S3Settings

SETTINGS = S3Settings(bucket="other", prefix="p/", endpoint_url="http://127.0.0.1:1", region="us-east-1")


@pytest.mark.parametrize(
    "key",
    [
        "run#2",
        "run#2/a.txt",
        "what?",
        "a?b=c#d",
        "50%/x",
        "%2e%2e",
        "sp ace+plus",
        "a;b",
        "//two",
        "a//b",
        "~me/",
        "é/ü",
        "x@y",
    ],
)
def test_a_key_is_what_stands_behind_the_bucket(key: str) -> None:
    storage, prefix = wmtp_s3.plugin.open_url(f"s3://own-bucket/{key}", SETTINGS)
    assert prefix == key
    assert (storage.settings.bucket, storage.settings.prefix) == ("own-bucket", "")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url", ["s3://own-bucket", "s3://own-bucket/", "s3://own-bucket//", "s3:///key", "s3://me:pw@b/k"]
)
def test_an_address_without_bucket_or_key_or_with_a_password_is_refused(url: str) -> None:
    with pytest.raises(wmtp.ConfigError) as error:
        wmtp_s3.plugin.open_url(url, SETTINGS)
    assert "pw" not in str(error.value)

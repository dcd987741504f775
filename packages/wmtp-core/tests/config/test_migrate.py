"""`wmtp config migrate`: flat keys become the nested form, and nothing else in the file moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wmtp
from wmtp.config import load_config
from wmtp.config.migrate import migrate
from wmtp.config.source import as_plain, dump_yaml, parse_yaml

# what was written → what it becomes
CASES = {
    "both, with comments": (
        "# top\n"
        "project: x   # p\n"
        "storage_mode: s3  # where\n"
        "\n"
        "# about S3\n"
        "s3_config:     # settings\n"
        "  bucket: 'b'  # the bucket\n"
        "  # a note\n"
        "  region: r\n"
        "\n"
        "# after\n"
        "seed: 3\n",
        "# top\n"
        "project: x   # p\n"
        "\n"
        "# about S3\n"
        "storage:\n"
        "  mode: s3  # where\n"
        "  s3:     # settings\n"
        "    bucket: 'b'  # the bucket\n"
        "    # a note\n"
        "    region: r\n"
        "\n"
        "# after\n"
        "seed: 3\n",
    ),
    "mode alone": ("storage_mode: local # x\nseed: 3", "storage:\n  mode: local # x\nseed: 3"),
    "settings alone": ("s3_config: {bucket: b}\n", "storage:\n  mode: s3\n  s3: {bucket: b}\n"),
    "settings first, no newline at the end": (
        "s3_config:\n  bucket: b\nseed: 3\nstorage_mode: s3",
        "storage:\n  mode: s3\n  s3:\n    bucket: b\nseed: 3\n",
    ),
    "a loader's section": (
        "loaders:\n  mbpp:\n    storage_mode: s3\n    s3_config:\n      bucket: b\n    cache_dir: .c\n",
        "loaders:\n  mbpp:\n    storage:\n      mode: s3\n      s3:\n        bucket: b\n    cache_dir: .c\n",
    ),
    "two sections": (
        "storage_mode: local\na:\n  storage_mode: s3\n  x: [1,\n    2]\n",
        "storage:\n  mode: local\na:\n  storage:\n    mode: s3\n  x: [1,\n    2]\n",
    ),
    "lists and text over lines": (
        "s3_config:\n  bucket: >-\n    folded\n    text\n  list:\n  - 1\n  - 2\nseed: 1\n",
        "storage:\n  mode: s3\n  s3:\n    bucket: >-\n      folded\n      text\n    list:\n    - 1\n    - 2\nseed: 1\n",
    ),
    "credentials": (
        "s3_config:\n  bucket: b\n  access_key: K\n  secret_key: >-\n    SESAME\n  region: r\n",
        "storage:\n  mode: s3\n  s3:\n    bucket: b\n    region: r\n",
    ),
    "credentials in flow style": (
        "a:\n  s3_config: {bucket: b, access_key: K,\n    secret_key: SESAME, tags: {x: [1]}}  # ours\n  x: 1\n",
        "a:\n  storage:\n    mode: s3\n    s3:  # ours\n      bucket: b\n      tags:\n        x:\n        - 1\n  x: 1\n",
    ),
    "nothing but credentials": ("s3_config: {secret_key: SESAME}", "storage:\n  mode: s3\n  s3: {}\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_migrate(case):
    before, after = CASES[case]
    result = migrate(before)
    assert result.text == after
    assert result.changed
    assert migrate(after).changed is False
    assert migrate(after).text == after


def test_removed_credentials_are_named():
    named = [key for key, _ in migrate(CASES["credentials"][0]).removed]
    assert named == ["s3_config.access_key", "s3_config.secret_key"]
    flow = migrate(CASES["credentials in flow style"][0])
    assert [key for key, _ in flow.removed] == ["a.s3_config.access_key", "a.s3_config.secret_key"]
    assert "SESAME" not in flow.text


def test_what_a_new_file_would_be_refused_for_is_left_out_and_named():
    text = "s3_config:\n  bucket: b\n  use_ssl: false\n  endpoint_url: http://user:SESAME@host\n  region: r\n"
    result = migrate(text)
    assert result.text == "storage:\n  mode: s3\n  s3:\n    bucket: b\n    region: r\n"
    assert dict(result.removed) == {
        "s3_config.use_ssl": "the scheme of endpoint_url decides, http:// or https://",
        "s3_config.endpoint_url": "there are credentials in it; write it without them",
    }


@pytest.mark.parametrize(
    ("text", "incomplete"),
    [
        ("storage_mode: s3\n", ("storage",)),
        ("a:\n  s3_config:\n    region: r\n", ("a.storage",)),
        ("storage_mode: local\n", ()),
        ("s3_config: {bucket: b}\n", ()),
    ],
)
def test_a_section_without_a_bucket_is_named(text, incomplete):
    assert migrate(text).incomplete == incomplete


def test_sections_below_the_top_level_are_named():
    assert migrate(CASES["two sections"][0]).nested == ("a.storage",)
    assert migrate(CASES["mode alone"][0]).nested == ()


def test_the_result_is_read(plugins, tmp_path, caplog):
    file = tmp_path / "c.yaml"
    file.write_text(migrate("storage_mode: local\ns3_config:\n  bucket: b\n").text)
    assert load_config(file, plugins=plugins).storage.sections == {"s3": {"bucket": "b"}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{storage_mode: s3, s3_config: {bucket: mine}}", "is written in flow style; rewrite it by hand"),
        ("storage_mode: s3\nstorage: {mode: local}", "has flat keys and a section 'storage'"),
        ("storage_mode: [", "not YAML"),
    ],
)
def test_what_cannot_be_rewritten(text, says):
    with pytest.raises(wmtp.ConfigError) as caught:
        migrate(text, "old.yaml")
    assert says in str(caught.value)
    assert "old.yaml" in str(caught.value)
    assert "SESAME" not in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text("ab#:-'\" \n", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k1", "k2", "k3"]), inner, max_size=3),
    max_leaves=6,
)
files = st.dictionaries(st.sampled_from(["project", "seed", "paths", "zed"]), values, max_size=3)
sections = st.dictionaries(st.sampled_from(["bucket", "region"]), values)
flat = st.fixed_dictionaries({}, optional={"storage_mode": st.sampled_from(["s3", "local"]), "s3_config": sections})


@given(rest=files, keys=flat, order=st.randoms(use_true_random=False))
def test_any_block_file_migrates_to_the_same_data(rest, keys, order):
    items = [*rest.items(), *keys.items()]
    order.shuffle(items)
    result = migrate(dump_yaml(dict(items)) if items else "")
    expected = dict(rest)
    if keys:
        mode = keys.get("storage_mode", "s3")
        expected["storage"] = {"mode": mode} | ({"s3": keys["s3_config"]} if "s3_config" in keys else {})
    assert result.changed is bool(keys)
    assert (as_plain(parse_yaml(result.text, "config", "new.yaml")) or {}) == expected

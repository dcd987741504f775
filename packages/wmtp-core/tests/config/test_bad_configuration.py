"""Bad files and the messages they get: what, where (key path, file, line), and what to do. One row a mistake."""

from __future__ import annotations

import pytest

import wmtp
from wmtp.config import load_config, load_configuration, load_recipe, load_section
from wmtp.config.plain import to_plain

# config.yaml: (text, every message, in order)
CONFIGS = {
    "misspelt key": ("sed: 3", ["config.sed (c.yaml, line 1): unknown key; did you mean 'seed'? known: project, seed,"]),
    "misspelt nested key": (
        "judging:\n  time_limits: 3\n",
        ["config.judging.time_limits (c.yaml, line 2): unknown key; did you mean 'time_limit'?"],
    ),
    "quoted number": (
        'seed: "5"',
        ["config.seed (c.yaml, line 1): must be a whole number (written without quotes), not '5'"],
    ),
    "half a number": ("seed: 1.9", ["config.seed (c.yaml, line 1): must be a whole number, not 1.9"]),
    "number for text": ("project: 5", ["config.project (c.yaml, line 1): must be text (put it in quotes), not 5"]),
    "bool for number": ("judging: {time_limit: true}", ["config.judging.time_limit (c.yaml, line 1): must be a number"]),
    "infinite": ("judging: {time_limit: .inf}", ["must be a number, not inf"]),
    "date for text": ("project: 2024-01-01", ["must be text (put it in quotes), not 2024-01-01"]),
    "null": ("seed:", ["config.seed (c.yaml, line 1): must be a whole number, not null (nothing)"]),
    "choice": (
        "judging: {level: strct}",
        ["config.judging.level (c.yaml, line 1): must be 'strict', 'process' or 'auto' (did you mean 'strict'?), not"],
    ),
    "auto or a number": ("judging: {workers: many}", ["must be a whole number or 'auto', not 'many'"]),
    "out of range": (
        "judging: {workers: 0, time_limit: 0, memory_mib: 1}\nseed: -1",
        [
            "config.seed (c.yaml, line 2): must be at least 0",
            "config.judging.workers (c.yaml, line 1): must be at least 1, not 0",
            "config.judging.time_limit (c.yaml, line 1): must be above 0, not 0.0",
            "config.judging.memory_mib (c.yaml, line 1): must be at least 16, not 1",
        ],
    ),
    "section that is a list": ("judging: [a]", ["config.judging (c.yaml, line 1): must be a section"]),
    "number for key": ("3: x", ["config[3] (c.yaml, line 1): key 3 must be text"]),
    "flat keys": (
        "storage_mode: s3\ns3_config:\n  bucket: mine\n  region: eu-west-1\n  secret_key: SESAME\n",
        [
            "config.storage_mode (c.yaml, line 1): storage_mode and s3_config: flat keys are gone; only the nested form is "
            "read (`wmtp config migrate FILE` rewrites a file). Write:\n  storage:\n    mode: s3\n    s3:\n"
            "      bucket: mine\n      region: eu-west-1\n(secret_key left out"
        ],
    ),
    "flat keys deep inside": (
        "judging:\n  storage_mode: local\n",
        ["config.judging.storage_mode (c.yaml, line 2): storage_mode: flat keys are gone"],
    ),
    "unknown mode": (
        "storage: {mode: shell}",
        ["config.storage.mode (c.yaml, line 1): unknown storage mode 'shell'; did you mean 'shelf'? installed: local, shelf"],
    ),
    "known mode not installed": (
        "storage: {mode: s3, s3: {bucket: b}}",
        ["unknown storage mode 's3'; installed: local, shelf. wmtp-s3 provides it: pip install wmtp-s3"],
    ),
    "fields beside their section": (
        "storage: {mode: shelf, bucket: b, shelf: {bucket: c}}",
        ["config.storage.bucket (c.yaml, line 1): belongs in the section storage.shelf"],
    ),
    "misspelt mode key": ("storage: {mod: shelf}", ["config.storage.mod (c.yaml, line 1): unknown key; did you mean 'mode'?"]),
    "a plugin's section": (
        "storage:\n  mode: shelf\n  shelf:\n    regin: x\n    path_style: 'false'\n    colour: rde\n    labels: {a: x}\n"
        "    span: [1]\n    retry: {attempts: 0, statuses: '12'}\n    timeout: 1e1\n",
        [
            "config.storage.shelf.bucket (c.yaml, line 3): required, and missing",
            "config.storage.shelf.path_style (c.yaml, line 5): must be true or false (written without quotes), not 'false'",
            "config.storage.shelf.colour (c.yaml, line 6): must be 'red' or 'blue' (did you mean 'red'?), not 'rde'",
            "config.storage.shelf.labels.a (c.yaml, line 7): must be a whole number, not 'x'",
            "config.storage.shelf.span (c.yaml, line 8): must be a list of 2, not of 1",
            "config.storage.shelf.retry.attempts (c.yaml, line 9): 'attempts' must be >= 1: 0",
            "config.storage.shelf.retry.statuses (c.yaml, line 9): must be a list (write [12]), not '12'",
            "config.storage.shelf.regin (c.yaml, line 4): unknown key; did you mean 'region'?",
        ],
    ),
    "a section for local": (
        "storage: {mode: local, local: {root: x}}",
        ["config.storage.local.root (c.yaml, line 1): unknown key; known: none"],
    ),
    "model path": (
        "paths: {models: {base_local: {id: a/b, pth: x}, ref_local: 3, gpt_local: x}}",
        [
            "config.paths.models.base_local.path (c.yaml, line 1): required, and missing",
            "config.paths.models.base_local.pth (c.yaml, line 1): unknown key; did you mean 'path'?",
            "config.paths.models.ref_local (c.yaml, line 1): must be a path, or {id: …, variant: …, path: …}, not 3",
            "config.paths.models.gpt_local (c.yaml, line 1): unknown key; did you mean",
        ],
    ),
    "data set": (
        "paths: {datasets: {puzzle_local: x, puzzles: y, puzzles_local: ''}}",
        [
            "config.paths.datasets.puzzle_local (c.yaml, line 1): no data set 'puzzle' is installed; did you mean "
            "puzzles_local?",
            "config.paths.datasets.puzzles (c.yaml, line 1): data sets are named <data set>_local; write puzzles_local",
            "config.paths.datasets.puzzles_local (c.yaml, line 1): is empty",
        ],
    ),
    "variable": (
        "project: ${WMTP_NO_SUCH}\nstorage:\n  mode: $x${WMTP_NO_SUCH}",
        [
            "config.project (c.yaml, line 1): environment variable WMTP_NO_SUCH is not set; set it, or write "
            "${WMTP_NO_SUCH:-default}",
            "config.storage.mode (c.yaml, line 3): environment variable WMTP_NO_SUCH is not set",
        ],
    ),
    "variable's form": ("project: ${a b}", ["config.project (c.yaml, line 1): '${a b}' cannot be read; write ${VAR}"]),
    "variable's end": ("project: ${HOME", ["config.project (c.yaml, line 1): '${' cannot be read"]),
    "variable's type": ("seed: ${WMTP_TEST_WORD}", ["config.seed (c.yaml, line 1): must be a whole number, not 'word'"]),
    "duplicate key": ("seed: 1\nproject: a\nseed: 2\n", ["config (c.yaml, line 3, column 1): found duplicate key \"seed\""]),
    "not YAML": ("seed: [1,\nproject: x", ["config (c.yaml, line 2", "not YAML"]),
    "not a mapping": ("- a\n- b\n", ["config (c.yaml): must be a mapping of keys, not a list"]),
    "a recipe": ("eval: {limit: 3}", ["c.yaml: this is a recipe, not a config; where a command takes both, the config"]),
    "recipe's keys": ("seed: 1\neval: {limit: 3}", ["config.eval (c.yaml, line 2): belongs in the recipe file"]),
}  # fmt: skip

RECIPES = {
    "unknown metric": (
        "eval: {metrics: [puzzle_exact]}",
        [
            "recipe.eval.metrics[0] (r.yaml, line 1): unknown metric 'puzzle_exact'; did you mean 'puzzles_exact'? "
            "`wmtp metrics` lists all",
        ],
    ),
    "metric of another distribution": (
        "eval: {metrics: [puzzles_exact, 'contest_pass@5']}",
        [
            "metrics[1] (r.yaml, line 1): unknown metric 'contest_pass@5'; ",
            "wmtp-eval-codecontests provides it: pip install",
        ],
    ),
    "metric twice": (
        "eval: {metrics: [puzzles_exact, puzzles_exact]}",
        ["metrics[1] (r.yaml, line 1): puzzles_exact is"],
    ),
    "metric as text": (
        "eval: {metrics: puzzles_exact}",
        ["must be a list (write [puzzles_exact]), not 'puzzles_exact'"],
    ),
    "n below k": (
        "eval:\n  sampling:\n    n: 2\n  metrics: ['puzzles_pass@1', 'puzzles_pass@5']",
        [
            "recipe.eval.sampling.n (r.yaml, line 3): puzzles_pass@5 needs at least 5 samples a problem, and n is 2; set n: 5"
        ],
    ),
    "n left out": (
        "eval:\n  metrics: ['puzzles_pass@5']",
        ["recipe.eval.sampling.n (r.yaml, line 1): puzzles_pass@5 needs"],
    ),
    "everything at once": (
        "run: {name: ../x, tags: a}\nmodel: {base_id: 5, loader: transformer, mtp: {n_heads: 0, speculative: on}}\n"
        "eval:\n  protocol: meta\n  sampling: {temperature: -1, top_p: 1.5, n: 0}\n  metrics: [nothing]\n  limit: 0\n"
        "  batch_size: few\n  metric_prefix: {wmtp-shel: x, wmtp-shelf: 'a b'}\n"
        "  evaluators: {puzzle-v1: {}, puzzles-v1: {shots: -1, splt: x}, plain-v1: {a: 1}}\n",
        [
            "recipe.run.name (r.yaml, line 1): names a folder: letters, digits and _ . + = @ -, a letter or digit first; "
            "'../x' holds '/'",
            "recipe.run.tags (r.yaml, line 1): must be a list (write [a])",
            "recipe.model.base_id (r.yaml, line 2): must be text (put it in quotes), not 5",
            "recipe.model.loader (r.yaml, line 2): unknown loader 'transformer'; did you mean 'transformers'?",
            "recipe.model.mtp.n_heads (r.yaml, line 2): must be at least 1, not 0",
            "recipe.model.mtp.speculative (r.yaml, line 2): must be 'auto', 'always' or 'off'",
            "recipe.eval.protocol (r.yaml, line 4): unknown protocol 'meta'",
            "recipe.eval.sampling.temperature (r.yaml, line 5): must be at least 0, not -1",
            "recipe.eval.sampling.top_p (r.yaml, line 5): must be above 0 and at most 1, not 1.5",
            "recipe.eval.sampling.n (r.yaml, line 5): must be at least 1, not 0",
            "recipe.eval.metrics[0] (r.yaml, line 6): unknown metric 'nothing'",
            "recipe.eval.batch_size (r.yaml, line 8): must be a whole number or 'auto', not 'few'",
            "recipe.eval.limit (r.yaml, line 7): must be at least 1, not 0",
            "recipe.eval.metric_prefix.wmtp-shel (r.yaml, line 9): unknown distribution 'wmtp-shel'; did you mean",
            "recipe.eval.metric_prefix.wmtp-shelf (r.yaml, line 9): must be some text without spaces",
            "recipe.eval.evaluators.puzzle-v1 (r.yaml, line 10): unknown evaluator 'puzzle-v1'; did you mean 'puzzles-v1'?",
            "recipe.eval.evaluators.puzzles-v1.shots (r.yaml, line 10): 'shots' must be >= 0: -1",
            "recipe.eval.evaluators.puzzles-v1.splt (r.yaml, line 10): unknown key; did you mean 'split'?",
            "recipe.eval.evaluators.plain-v1.a (r.yaml, line 10): unknown key; known: none",
        ],
    ),
    "right key, wrong section": (
        "n: 3\nmodel: {n_heads: 2}\neval: {temperature: 1, name: x}",
        [
            "recipe.model.n_heads (r.yaml, line 2): unknown key here; it belongs in recipe.model.mtp.n_heads",
            "recipe.eval.name (r.yaml, line 3): unknown key here; it belongs in recipe.run.name",
            "recipe.eval.temperature (r.yaml, line 3): unknown key here; it belongs in recipe.eval.sampling.temperature",
            "recipe.n (r.yaml, line 1): unknown key here; it belongs in recipe.eval.sampling.n",
        ],
    ),
    "settings that a metric needs": (
        "eval: {metrics: [hard_exact]}",
        ["recipe.eval.evaluators.hard-v1.level (r.yaml, line 1): required, and missing"],
    ),
    "a config": (
        "seed: 3",
        ["r.yaml: this is a config, not a recipe; where a command takes both, the config comes first"],
    ),
}


def told(load, **arguments):
    with pytest.raises(wmtp.ConfigError) as caught:
        load(**arguments)
    return caught.value


def check(error, expected):
    text = str(error)
    for message in expected:
        assert message in text, text
    assert len(error.faults) <= len(expected), text
    places = [text.index(message) for message in expected]
    assert places == sorted(places), text


@pytest.mark.parametrize("case", CONFIGS)
def test_config(case, write, plugins, monkeypatch):
    monkeypatch.setenv("WMTP_TEST_WORD", "word")
    text, expected = CONFIGS[case]
    error = told(load_config, source=write("c.yaml", text), plugins=plugins)
    check(error, expected)
    assert "SESAME" not in str(error)


@pytest.mark.parametrize("case", RECIPES)
def test_recipe(case, write, plugins):
    text, expected = RECIPES[case]
    check(told(load_recipe, source=write("r.yaml", text), plugins=plugins), expected)


def test_both_files_at_once(write, plugins):
    write("c.yaml", "sed: 3")
    write("r.yaml", "eval: {limit: -1}")
    error = told(load_configuration, config="c.yaml", recipe="r.yaml", plugins=plugins, overrides=["evl.x=1"])
    places = ["--set evl.x=1", "config.sed (c.yaml, line 1)", "recipe.eval.limit (r.yaml, line 1)"]
    assert [p.where for p in error.faults] == places


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("judging.level", "--set judging.level: must read key.path=value"),
        ("=3", "--set =3: must read key.path=value"),
        ("juding.level=auto", "--set juding.level=auto: unknown key; did you mean 'judging'?"),
        (
            "judging.level=atuo",
            "config.judging.level (--set judging.level=atuo): must be 'strict', 'process' or 'auto'",
        ),
        ("seed.x=1", "--set seed.x: seed is not a section"),
        ("seed=[1", "--set (seed=[1, line 1"),
    ],
)
def test_overrides(override, says, write, plugins):
    source = write("c.yaml", "seed: 3")
    assert says in str(told(load_config, source=source, plugins=plugins, overrides=[override]))


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("eval.metrics=[puzzles_exat, puzzles_exact]", "eval.metrics[0]"),  # the file's list has lines of its own
        ("eval.evaluators.puzzle-v2.x=1", "eval.evaluators.puzzle-v2"),
        ("eval.evaluators.puzzles-v1.x=1", "eval.evaluators.puzzles-v1.x"),
    ],
)
def test_what_an_override_spoils_is_placed_there(override, place, write, plugins):
    source = write("r.yaml", "eval:\n  metrics:\n    - puzzles_exact\n  evaluators:\n    puzzles-v1: {shots: 1}\n")
    error = told(load_recipe, source=source, plugins=plugins, overrides=[override])
    assert [p.where for p in error.faults] == [f"recipe.{place} (--set {override})"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "it is empty"),
        ("a b/c", "'a b/c' holds ' ', '/'"),
        ("-a", "'-a' starts with '-'"),
        ("a" * 201, "at most 200 of them; it has 201"),
    ],
)
def test_the_character_that_no_run_name_may_hold_is_named(name, says, plugins):
    assert says in str(told(load_recipe, source={"run": {"name": name}}, plugins=plugins))


def test_the_installed_metrics_are_not_listed_once_an_error(plugins):
    error = told(load_recipe, source={"eval": {"metrics": ["xx", "yy", "puzzles_pas@3"]}}, plugins=plugins)
    assert [p.message for p in error.faults] == [
        "unknown metric 'xx'; `wmtp metrics` lists all",
        "unknown metric 'yy'; `wmtp metrics` lists all",
        "unknown metric 'puzzles_pas@3'; did you mean 'puzzles_pass@3'? `wmtp metrics` lists all",
    ]


@pytest.mark.parametrize("k", ["0", "-1", "k", "01", ""])
def test_a_k_that_is_none_is_told(k, plugins):
    error = told(load_recipe, source={"eval": {"metrics": [f"puzzles_pass@{k}"]}}, plugins=plugins)
    assert "k must be at least 1" in str(error)


def test_files_that_cannot_be_read(write, plugins, tmp_path):
    assert "config: no such file: nowhere.yaml" in str(told(load_config, source="nowhere.yaml", plugins=plugins))
    assert "cannot read" in str(told(load_config, source=tmp_path, plugins=plugins))
    (tmp_path / "latin.yaml").write_bytes(b"project: \xff")
    assert "cannot read" in str(told(load_config, source=tmp_path / "latin.yaml", plugins=plugins))


def test_secrets_are_never_shown(write, plugins):
    text = "storage: {mode: shelf, shelf: {bucket: b, secret_key: SESAME, labels: {api_key: SESAME}}}"
    error = told(load_config, source=write("c.yaml", text), plugins=plugins)
    assert "storage.shelf.secret_key" in str(error)
    assert "labels.api_key" in str(error)
    assert "SESAME" not in str(error)
    error = told(load_config, source=None, plugins=plugins, overrides=["judging.secret=SESAME"])
    assert "(--set judging.secret)" in str(error)
    assert "SESAME" not in str(error)


@pytest.mark.parametrize("address", ["http://user:SESAME@host:9000", "https://SESAME@host", "user:SESAME@host/x"])
def test_a_password_in_an_address_is_never_shown(write, plugins, caplog, address):
    """Whatever is wrong with the key it stands in, and in a section that is kept unread."""
    flat = f"storage_mode: s3\ns3_config: {{bucket: b, endpoint_url: '{address}'}}\nseed: '{address}'"
    error = str(told(load_config, source=write("c.yaml", flat), plugins=plugins))
    assert "endpoint_url left out: there are credentials in it" in error
    assert "SESAME" not in error
    error = str(told(load_config, source=None, plugins=plugins, overrides=[f"storage.endpoint_url={address}"]))
    assert "(--set storage.endpoint_url)" in error
    assert "SESAME" not in error
    kept = f"storage: {{mode: local, foreign: {{bucket: b, endpoints: ['{address}']}}}}"
    environment = load_config(write("kept.yaml", kept), plugins=plugins)
    assert to_plain(environment)["storage"]["foreign"] == {"bucket": "b", "endpoints": ["(hidden)"]}
    assert "SESAME" not in caplog.text


def test_a_loaders_mapping(plugins, tmp_path, monkeypatch):
    """`LoaderConfig` given as a mapping is as strict as a file, and refuses the flat keys in the same words."""
    monkeypatch.chdir(tmp_path)
    models = {"base": {"id": "a/b", "path": "m"}}
    good = {"local_path": "data", "cache_dir": "/c", "storage": {"mode": "local"}, "model_paths": models}
    structured = load_section(wmtp.LoaderConfig, good, plugins=plugins, root="loader config")
    assert structured.local_path == tmp_path / "data"
    assert structured.model_paths["base"].id == "a/b"
    bad = {"storage_mode": "s3", "s3_config": {"bucket": "mine"}, "local_pth": "x", "cache_dir": 3}
    expected = [
        "loader config.storage_mode: storage_mode and s3_config: flat keys are gone",
        "      bucket: mine",
        "loader config.cache_dir: must be a path, not 3",
        "loader config.local_pth: unknown key; did you mean 'local_path'?",
    ]
    check(told(wmtp.create_data_loader, config=bad, dataset="puzzles", plugins=plugins), expected)

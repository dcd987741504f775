"""The plugin manager's rules: what breaks one plugin costs the others nothing, and every message names the culprit."""

from __future__ import annotations

import logging
import sys
from types import ModuleType

import pytest

import wmtp
from wmtp.plugins import create_plugin_manager, hookspecs
from wmtp.plugins.checks import PluginFault, check_plugin, new_manager

GOOD = """
    import wmtp

    @wmtp.hookimpl
    def wmtp_evaluators():
        return [wmtp.EvaluatorSpec(id="good-v1", summary="good", metrics=("good_exact", "good_pass@{k}"), dataset="good")]

    @wmtp.hookimpl
    def wmtp_evaluate(task):
        return None
"""

# name of the case: (source, what the listing must say)
BROKEN = {
    "import": (
        "import a_module_that_is_not_there",
        "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
    ),
    "syntax": ("def f(:\n    pass", "SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "empty": ("x = 1", "implements no hook; mark its functions with @wmtp.hookimpl"),
    "misspelt": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_evaluatrs():
            return []
        """,
        "unknown hook 'wmtp_evaluatrs'; did you mean 'wmtp_evaluators'?",
    ),
    "unmarked": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_datasets():
            return []
        def wmtp_evaluators():
            return []
        """,
        "function wmtp_evaluators is not marked with @wmtp.hookimpl",
    ),
    "arguments": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_run_started(run_name, colour):
            pass
        """,
        "colour",
    ),
    "wrapper": (
        """
        import wmtp
        @wmtp.hookimpl(wrapper=True)
        def wmtp_evaluate(task):
            return (yield)
        """,
        "wmtp_evaluate is a hook wrapper",
    ),
    "core api": (
        """
        import wmtp
        requires_core_api = 99
        @wmtp.hookimpl
        def wmtp_datasets():
            return []
        """,
        "needs core API 99",
    ),
    "raises": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_datasets():
            raise RuntimeError("no licence\\nfound")
        """,
        "RuntimeError: no licence found",
    ),
    "storages": (
        "import wmtp\n@wmtp.hookimpl\ndef wmtp_storages():\n    return None",
        "wmtp_storages returned None, not a list of wmtp.StorageSpec",
    ),
    "loaders": (
        "import wmtp\n@wmtp.hookimpl\ndef wmtp_loaders():\n    return ['transformers']",
        "wmtp_loaders returned a list with a str in it, not only wmtp.LoaderSpec",
    ),
    "datasets": (
        "import wmtp\n@wmtp.hookimpl\ndef wmtp_datasets():\n    return wmtp.DatasetSpec(name='d', summary='s', load=print)",
        "wmtp_datasets returned a DatasetSpec, not a list of wmtp.DatasetSpec",
    ),
    "evaluators": (
        "import wmtp\n@wmtp.hookimpl\ndef wmtp_evaluators():\n    return 7",
        "wmtp_evaluators returned a int, not a list of wmtp.EvaluatorSpec",
    ),
    "scorers": (
        "import wmtp\n@wmtp.hookimpl\ndef wmtp_scorers():\n    return {'a': 1}",
        "wmtp_scorers returned a list with a str in it, not only wmtp.ScorerSpec",
    ),
    "field": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_evaluators():
            return [wmtp.EvaluatorSpec(id="e-v1", summary="an evaluator", metrics="e_exact")]
        """,
        "EvaluatorSpec.metrics is 'e_exact'; a tuple of strings: ('e_exact',)",
    ),
    "id": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_datasets():
            return [wmtp.DatasetSpec(name="../x", summary="s", load=print)]
        """,
        "DatasetSpec.name is '../x'",
    ),
    "not callable": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_loaders():
            return [wmtp.LoaderSpec(name="l", summary="s", matches=print, load=None)]
        """,
        "LoaderSpec.load is None; something that can be called",
    ),
    "no evaluate": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_evaluators():
            return [wmtp.EvaluatorSpec(id="e-v1", summary="an evaluator", metrics=("e_exact",))]
        """,
        "registers evaluator 'e-v1', but neither EvaluatorSpec.evaluate nor the hook wmtp_evaluate runs it",
    ),
    "twice": (
        """
        import wmtp
        @wmtp.hookimpl
        def wmtp_datasets():
            return [wmtp.DatasetSpec(name="d", summary=s, load=print) for s in ("one", "two")]
        """,
        "wmtp_datasets returned 'd' twice",
    ),
    "a description of nothing": (
        """
        import wmtp

        @wmtp.hookimpl
        def wmtp_evaluators():
            return [wmtp.EvaluatorSpec(id="e-v1", summary="one", metrics=("e_x",), descriptions={"e_y": "what"})]

        @wmtp.hookimpl
        def wmtp_evaluate(task):
            return None
        """,
        "descriptions holds 'e_y', which is none of the metrics",
    ),
}


HOOKS = sorted(name for name in vars(new_manager().hook) if name.startswith("wmtp_"))


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_wrapper_is_refused_on_every_hook(hook, option, plugin_module):
    source = f"import wmtp\n@wmtp.hookimpl({option}=True)\ndef {hook}():\n    return (yield)\n"
    with pytest.raises(PluginFault, match=f"^{hook} is a hook wrapper; wrappers are refused"):
        check_plugin(plugin_module("wmtp-wrapping", source), new_manager())


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_costs_one_line_and_nothing_else(case, distributions, caplog):
    source, says = BROKEN[case]
    distributions("wmtp-bad", source, version="2.5")
    distributions("wmtp-good", GOOD)
    with caplog.at_level(logging.WARNING, "wmtp"):
        plugins = create_plugin_manager(allow=["wmtp-bad", "wmtp-good"])
    info = {i.distribution: i for i in plugins.listing()}["wmtp-bad"]
    assert info.state == "broken"
    assert says in info.error
    assert "\n" not in info.error
    assert [r.getMessage() for r in caplog.records] == [f"plugin wmtp-bad 2.5 is broken: {info.error}"]
    assert plugins.metric("good_pass@7").k == 7
    assert "wmtp-bad" not in plugins.manager.list_name_plugin()[0]


@pytest.mark.parametrize("case", ["import", "misspelt", "storages"])
def test_strict_makes_it_an_error(case, distributions, monkeypatch):
    distributions("wmtp-bad", BROKEN[case][0])
    monkeypatch.setenv("WMTP_STRICT_PLUGINS", "1")
    with pytest.raises(wmtp.PluginError, match=r"wmtp-bad 1\.0 is broken") as caught:
        create_plugin_manager(allow=["wmtp-bad"])
    assert caught.value.__cause__ is not None


def test_an_optional_hook_of_a_newer_core_is_no_fault(plugin_module):
    source = GOOD + "\n    @wmtp.hookimpl(optionalhook=True)\n    def wmtp_of_tomorrow(x):\n        pass\n"
    plugins = create_plugin_manager(plugins=[plugin_module("wmtp-good", source)], entry_points=False)
    assert {i.state for i in plugins.listing()} == {"loaded"}


def test_a_newer_core_is_asked_for_before_any_import(distributions):
    marker = "wmtp_imported_although_incompatible"
    distributions(
        "wmtp-tomorrow", f"import sys; sys.modules[{marker!r}] = 1", requires=("attrs>=1", "Wmtp_Core>=9.1,<10")
    )
    info = {i.distribution: i for i in create_plugin_manager(allow=["wmtp-tomorrow"]).listing()}["wmtp-tomorrow"]
    assert info.state == "incompatible"
    assert f"needs wmtp-core<10,>=9.1, this is {wmtp.__version__}; pip install --upgrade" in info.error
    assert marker not in sys.modules


def test_requirements_that_hold_or_do_not_apply_are_no_obstacle(distributions):
    requires = (f"wmtp-core>={wmtp.__version__}", 'wmtp-core>=9; python_version < "3"', "wmtp-core>=9; extra == 'x'")
    distributions("wmtp-good", GOOD, requires=requires)
    assert "good-v1" in create_plugin_manager(allow=["wmtp-good"]).evaluators


def test_two_entry_points_of_one_distribution(distributions):
    distributions("wmtp-two", GOOD, entry_points=2)
    info = {i.distribution: i for i in create_plugin_manager(allow=["wmtp-two"]).listing()}["wmtp-two"]
    assert info.state == "broken"
    assert "announces 2 entry points" in info.error


@pytest.mark.parametrize("how", ["block", "allow", "variable", "empty variable"])
def test_blocking_happens_before_import(how, distributions, monkeypatch):
    marker = f"wmtp_imported_although_blocked_{how.replace(' ', '_')}"
    distributions("wmtp-heavy", f"import sys; sys.modules[{marker!r}] = 1")
    distributions("wmtp-good", GOOD)
    options = {}
    if how == "block":
        monkeypatch.setenv("WMTP_PLUGINS", "wmtp-good,wmtp-heavy")
        options = {"block": ["Wmtp_Heavy"]}
    elif how == "allow":
        options = {"allow": ["wmtp.good"]}
    else:
        monkeypatch.setenv("WMTP_PLUGINS", "" if how == "empty variable" else " wmtp-good ,")
    plugins = create_plugin_manager(**options)
    states = {i.distribution: i.state for i in plugins.listing()}
    assert states["wmtp-heavy"] == "blocked"
    assert states["wmtp-good"] == ("blocked" if how == "empty variable" else "loaded")
    assert states["wmtp-core"] == "loaded"
    assert marker not in sys.modules


@pytest.mark.parametrize(
    ("options", "variable", "says"),
    [
        ({"block": ["wmtp-god"]}, None, "--no-plugin names wmtp-god, which is not an installed plugin; installed: "),
        ({"block": ["wmtp-core"]}, None, "core cannot be left out"),
        ({"allow": ["nothing-like-it"]}, None, "nothing-like-it"),
        ({}, "wmtp-good,wmtp-bda", "WMTP_PLUGINS names wmtp-bda"),
    ],
)
def test_unknown_names_are_errors(options, variable, says, distributions, monkeypatch):
    distributions("wmtp-good", GOOD)
    if variable is not None:
        monkeypatch.setenv("WMTP_PLUGINS", variable)
    with pytest.raises(wmtp.PluginError, match=says):
        create_plugin_manager(**options)


def test_a_plugin_given_and_installed_is_one_plugin(distributions, monkeypatch):
    distributions("wmtp-good", GOOD, version="3.1")
    monkeypatch.setenv("WMTP_PLUGINS", "wmtp-good")
    first = create_plugin_manager().evaluators["good-v1"]
    plugins = create_plugin_manager(plugins=[first.plugin])
    assert plugins.evaluators["good-v1"].owner == "wmtp-good 3.1"


def test_managers_share_nothing(plugin_module):
    with_it = create_plugin_manager(plugins=[plugin_module("wmtp-good", GOOD)], entry_points=False)
    without = create_plugin_manager(entry_points=False)
    assert "good-v1" in with_it.evaluators
    assert "good-v1" not in without.evaluators


def test_core_brings_what_it_promises():
    plugins = create_plugin_manager(entry_points=False)
    assert list(plugins.storages) == ["local"]
    assert set(plugins.loaders) == {"transformers", "meta-mtp", "reference", "samples"}
    assert plugins.protocol("meta-mtp").spec.id == "meta-mtp-evaluator"
    assert {"critic-delta-v1", "rho1-excess-v1"} <= set(plugins.scorers)
    with pytest.raises(wmtp.ConfigError, match="unknown protocol 'meta-mpt'; did you mean 'meta-mtp'"):
        plugins.protocol("meta-mpt")


@pytest.mark.parametrize(
    ("reference", "loaders"),
    [
        ("facebook/multi-token-prediction", {"meta-mtp"}),
        ("Qwen/Qwen3-0.6B", {"transformers"}),
        ("gpt2", {"transformers"}),
        ("reference:", {"reference"}),
        ("samples:a/b.jsonl", {"samples"}),
        ("s3://bucket/models/x", {"transformers"}),
        ("not a model", set()),
    ],
)
def test_loaders_match_by_the_reference_alone(reference, loaders):
    plugins = create_plugin_manager(entry_points=False)
    assert {name for name, owned in plugins.loaders.items() if owned.spec.matches(reference)} == loaders


def test_loaders_match_folders_by_their_listing(tmp_path):
    plugins = create_plugin_manager(entry_points=False)
    for place in ("hf/config.json", "meta/params.json", "repository/7B_1T_4/params.json", "neither/x.txt"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()

    def matching(name):
        return {n for n, o in plugins.loaders.items() if o.spec.matches(str(tmp_path / name))}

    assert matching("hf") == {"transformers"}
    assert matching("meta") == matching("repository") == {"meta-mtp"}
    assert matching("neither") == set()


def test_deprecation_has_one_way(plugin_module, monkeypatch):
    """As `wmtp.plugins.hookspecs` says: a deprecated hook or argument still works, and warns once."""
    specs = ModuleType("tomorrow's hookspecs")
    old_hook = hookspecs.hookspec(warn_on_impl=DeprecationWarning("use wmtp_evaluators; ends with core API 2"))
    old_argument = hookspecs.hookspec(warn_on_impl_args={"colour": DeprecationWarning("colour is gone")})
    vars(specs).update({name: value for name, value in vars(hookspecs).items() if name.startswith("wmtp_")})
    specs.wmtp_old = old_hook(lambda: None)
    specs.wmtp_painted = old_argument(lambda colour: None)
    monkeypatch.setattr("wmtp.plugins.checks.hookspecs", specs)
    source = """
        import wmtp
        @wmtp.hookimpl
        def wmtp_old():
            pass
        @wmtp.hookimpl
        def wmtp_painted(colour):
            pass
    """
    with pytest.warns(DeprecationWarning, match=r"core API 2|is gone") as caught:
        plugins = create_plugin_manager(plugins=[plugin_module("wmtp-old", source)], entry_points=False)
    assert {i.distribution: i.state for i in plugins.listing()}["wmtp-old"] == "loaded"
    texts = [str(w.message) for w in caught]
    assert sorted(texts) == ["colour is gone", "use wmtp_evaluators; ends with core API 2"]

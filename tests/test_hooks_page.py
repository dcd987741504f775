"""Every hook is documented with signature, arguments, return and an example that runs; the page is the source's."""

from __future__ import annotations

import importlib.util
import inspect
import tempfile
import types
from pathlib import Path
from typing import Any

import pluggy
import pytest

from wmtp.plugins import hookspecs

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = script("make_hooks_page")
HOOKS: dict[str, Any] = make.hooks()


def test_the_page_is_that_of_its_source() -> None:
    assert make.PAGE.read_text(encoding="utf-8") == make.page(), "run: python scripts/make_hooks_page.py"


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_documents_its_arguments_and_return(name: str) -> None:
    docstring = inspect.getdoc(HOOKS[name]) or ""
    signature = inspect.signature(HOOKS[name])
    prose = docstring.split("Example:")[0]
    assert [a for a in signature.parameters if f"{a}:" not in prose] == []
    if signature.return_annotation not in ("None", None):
        assert "Returns:" in prose


@pytest.mark.parametrize("name", HOOKS)
def test_the_example_of_a_hook_runs_and_implements_it(name: str) -> None:
    module = types.ModuleType(f"example_of_{name}")
    exec(make.example(inspect.getdoc(HOOKS[name]) or ""), module.__dict__)
    manager = pluggy.PluginManager("wmtp")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    assert [i.plugin for i in getattr(manager.hook, name).get_hookimpls()] == [module]


def tracked(spec: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "events")
        listener = spec.create(spec.settings(path=str(path)), None)
        listener.handle(1)
        listener.handle("two")
        listener.close()
        return path.read_text(encoding="utf-8")


def reported(spec: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return str(spec.write(Path(folder), None).read_text(encoding="utf-8"))


# What each hook's example is called with, and what must come of it.
CALLS: dict[str, tuple[dict[str, Any], Any]] = {
    "wmtp_storages": ({}, lambda found: found[0][0].mode == "ftp"),
    "wmtp_loaders": ({}, lambda found: found[0][0].matches("echo:x") and not found[0][0].matches("x")),
    "wmtp_datasets": ({}, lambda found: found[0][0].name == "puzzles"),
    "wmtp_evaluators": ({}, lambda found: found[0][0].id == "puzzles-v1"),
    "wmtp_judges": ({}, lambda found: found[0][0].name == "one-by-one"),
    "wmtp_scorers": ({}, lambda found: found[0][0].name == "given-v1"),
    "wmtp_controls": ({}, lambda found: found[0][0].create(None)(3, None, None) == 2),
    "wmtp_trainers": ({}, lambda found: found[0][0].name == "my-loop"),
    "wmtp_architectures": ({}, lambda found: found[0][0].convention.concat == "he"),
    "wmtp_trackers": ({}, lambda found: tracked(found[0][0]) == "int\nstr\n"),
    "wmtp_reporters": ({}, lambda found: reported(found[0][0]) == "done\n"),
    "wmtp_sections": ({}, lambda found: found[0][0].settings(times=2).name == "world"),
    "wmtp_commands": ({}, lambda found: found[0][0].target == "my_plugin.commands:hello"),
    "wmtp_evaluate": ({"task": types.SimpleNamespace(evaluator="another")}, lambda found: found is None),
    "wmtp_run_started": ({"run_name": "r", "metrics": ("m",)}, lambda found: found == []),
    "wmtp_sample_judged": (
        {
            "sample": None,
            "verdict": types.SimpleNamespace(
                key=types.SimpleNamespace(problem="p"), outcome=types.SimpleNamespace(status="passed")
            ),
        },
        lambda found: found == [],
    ),
    "wmtp_run_finished": (
        {"run_name": "r", "results": {"metrics": {"m": {"value": 1}}}, "error": None},
        lambda found: found == [],
    ),
}


def test_every_hook_has_a_call() -> None:
    assert set(CALLS) == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_the_example_answers_a_call(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = types.ModuleType(f"example_of_{name}")
    exec(make.example(inspect.getdoc(HOOKS[name]) or ""), module.__dict__)
    manager = pluggy.PluginManager("wmtp")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    arguments, holds = CALLS[name]
    assert holds(getattr(manager.hook, name)(**arguments))
    if "run" in name or "judged" in name:
        assert capsys.readouterr().out.strip()

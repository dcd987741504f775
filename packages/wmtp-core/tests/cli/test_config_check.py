"""``wmtp config check`` refuses what would be refused at the start, as far as nothing must be started to know it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from wmtp.cli.config import check
from wmtp.cli.session import Session
from wmtp.errors import ConfigError


def test_what_this_machine_lacks_is_told_at_once(tmp_path: Path) -> None:
    config, recipe = tmp_path / "config.yaml", tmp_path / "recipe.yaml"
    config.write_text("judging: {packages: [attrs, nosuchpackage]}\n", encoding="utf-8")
    recipe.write_text("model: {base_id: ./nowhere}\neval: {against: ./config.yaml}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        CliRunner().invoke(check, [str(config), str(recipe)], obj=Session(), catch_exceptions=False)
    told = [str(fault) for fault in raised.value.faults]
    assert len(told) == 3
    assert told[0].startswith("config.judging.packages[1]: 'nosuchpackage' is not installed here")
    assert told[1].startswith("recipe.eval.against: ")
    assert told[2] == f"recipe.model.base_id: {tmp_path / 'nowhere'} does not exist"


def test_what_can_be_served_passes(tmp_path: Path) -> None:
    config, recipe = tmp_path / "config.yaml", tmp_path / "recipe.yaml"
    config.write_text("judging: {packages: [attrs]}\n", encoding="utf-8")
    recipe.write_text(f"model: {{base_id: {tmp_path}}}\n", encoding="utf-8")
    done = CliRunner().invoke(check, [str(config), str(recipe)], obj=Session(), catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.count(": ok; ") == 2

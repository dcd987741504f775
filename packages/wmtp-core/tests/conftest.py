"""Fixtures of core's own tests."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_numbers = itertools.count()


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs distributions made of one module each, as pip would leave them: a module and a .dist-info folder.

    ``distributions(name, source, version=..., requires=[...], entry_points=n)`` returns the folder to put on the path;
    it is on this process's path already, and on that of child processes.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))

    def install(
        name: str, source: str, *, version: str = "1.0", requires: tuple[str, ...] = (), entry_points: int = 1
    ) -> Path:
        module = f"{name.replace('-', '_')}_{next(_numbers)}"
        (site / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        metadata += [f"Requires-Dist: {r}" for r in requires]
        (info / "METADATA").write_text("\n".join(metadata) + "\n", encoding="utf-8")
        points = "".join(f"{name}{'' if i == 0 else i} = {module}\n" for i in range(entry_points))
        (info / "entry_points.txt").write_text(f"[wmtp]\n{points}", encoding="utf-8")
        return site

    return install


@pytest.fixture(scope="session")
def byte_tokenizer() -> Any:
    """Bytes as tokens, bos first: ids 3 to 258; 0 pad, 1 bos, 2 eos."""
    from tokenizers import processors

    from wmtp.testing.byte_tokenizer import byte_tokenizer

    made = byte_tokenizer(("<pad>", "<s>", "</s>"), bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


@pytest.fixture
def plugin_module() -> Callable[..., ModuleType]:
    """Makes a plugin in memory: ``plugin_module("dist-name", source)``."""

    def make(name: str, source: str) -> ModuleType:
        module = ModuleType(name)
        module.__version__ = "1.0"  # type: ignore[attr-defined]
        exec(textwrap.dedent(source), vars(module))
        return module

    return make

"""Rows from the recipe's sources: every data set through its plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wmtp
from wmtp_train.rows import Rows
from wmtp_train.settings import DataPartConfig, SourceConfig
from wmtp_train.tokens import documents


def load_rows(part: DataPartConfig, tokenizer: Any, config: wmtp.Config, plugins: wmtp.Plugins) -> Rows:
    """The rows of one part of ``data``.

    Raises:
        ConfigError: A data set is not installed or gives no examples, or an example cannot be trained on.
        ResourceError: A data set is nowhere.
    """
    if part.chat and not getattr(tokenizer, "chat_template", None):
        raise wmtp.ConfigError(
            "data: chat is true, and the model's tokenizer has no chat template; set it to false, or use one that has one"
        )
    found = [
        example for number, source in enumerate(part.sources) for example in _examples(source, number, config, plugins)
    ]
    if not found:
        named = ", ".join(f"{source.dataset} ({source.split})" for source in part.sources)
        raise wmtp.ConfigError(f"there is no example in {named}, so there is nothing to train on")
    return Rows(
        documents(tokenizer, found, max_length=part.max_length, chat=part.chat),
        part.max_length,
        several=part.pack_sequences,
        prompt_weight=part.prompt_weight,
    )


def _examples(source: SourceConfig, number: int, config: wmtp.Config, plugins: wmtp.Plugins) -> Iterator[wmtp.Example]:
    if source.path is not None and "://" not in source.path and not Path(source.path).exists():
        raise wmtp.ConfigError(f"sources[{number}].path of data set {source.dataset}: {source.path} does not exist")
    loader = wmtp.create_data_loader(config, source.dataset, plugins=plugins, path=source.path)
    spec = plugins.datasets[source.dataset].spec
    if spec.examples is None:
        able = sorted(name for name, one in plugins.datasets.items() if one.spec.examples is not None)
        raise wmtp.ConfigError(
            f"data set {source.dataset} gives no examples to train on (sources[{number}]); those that do: {', '.join(able)}"
        )
    for place, row in enumerate(loader.rows(source.split, source.limit)):
        if source.limit is not None and place >= source.limit:
            return
        yield from spec.examples(row)

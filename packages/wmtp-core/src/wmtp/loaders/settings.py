"""What a loader needs of a config, for those who have no config.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from wmtp.config import load_config, load_section
from wmtp.config.config import Config, ModelPath

if TYPE_CHECKING:
    from wmtp.plugins import Plugins

Role = Literal["base", "rm", "ref"]


@attrs.frozen(kw_only=True)
class LoaderConfig:
    """What a loader needs of a config, for those who have no config.yaml.

    Attributes:
        storage: The ``storage`` section, nested form.
        local_path: A file or folder to read first; for a model, a copy of its role's default.
        model_paths: Role (``base``, ``rm``, ``ref``) → local copy.
        cache_dir: Where downloads are kept.
    """

    storage: Mapping[str, Any] | None = None
    local_path: str | Path | None = None
    model_paths: Mapping[str, ModelPath] = attrs.field(factory=dict)
    cache_dir: str | Path = ".cache"


def as_loader_config(config: LoaderConfig | Mapping[str, Any], plugins: Plugins) -> LoaderConfig:
    """The record of a mapping. Raises ConfigError for keys that are wrong."""
    if isinstance(config, LoaderConfig):
        return config
    return load_section(LoaderConfig, config, plugins=plugins, root="loader config")


def as_config(record: LoaderConfig, plugins: Plugins, role: Role | None = None) -> Config:
    """The same as a config. role: the one whose model `local_path` stands for."""
    models: dict[str, Any] = {f"{name}_local": attrs.asdict(copy) for name, copy in record.model_paths.items()}
    if role and record.local_path:
        models.setdefault(f"{role}_local", str(record.local_path))
    source: dict[str, Any] = {"paths": {"models": models, "cache": str(record.cache_dir)}}
    if record.storage:
        source["storage"] = dict(record.storage)
    return load_config(source, plugins=plugins)

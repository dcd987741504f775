"""`create_s3_manager`: a storage from a nested configuration, or a warning and ``None``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmtp_s3.storage import S3Storage

FLAT = ("storage_mode", "s3_config")


def create_s3_manager(config: Any) -> S3Storage | None:
    """The S3 storage of a configuration: a mapping with ``storage: {mode: s3, s3: {...}}``, or a `wmtp.Config`.

    Anything else — another mode, no section, the flat keys that are gone, wrong types — is a UserWarning that says what is
    wrong, and ``None``. Within `wmtp` the same faults are errors; this function is for scripts that call it directly.
    """
    import wmtp

    if isinstance(config, wmtp.Config):
        if config.storage.mode != "s3":
            return _refused(f"storage.mode is {config.storage.mode!r}, not 's3'")
        return _open(config.storage.settings)
    if not isinstance(config, Mapping):
        return _refused(f"the configuration is a {type(config).__name__}, not a mapping")
    if flat := [key for key in FLAT if key in config]:
        return _refused(
            f"{' and '.join(flat)}: flat keys are gone; write storage: {{mode: s3, s3: {{bucket: …}}}} "
            "(`wmtp config migrate` rewrites a file)"
        )
    section = config.get("storage")
    if not isinstance(section, Mapping):
        return _refused("there is no section storage: {mode: s3, s3: {bucket: …}}")
    if section.get("mode") != "s3":
        return _refused(f"storage.mode is {section.get('mode')!r}, not 's3'")
    if not isinstance(section.get("s3"), Mapping):
        return _refused("storage.mode is 's3', but there is no section storage.s3: {bucket: …}")
    import wmtp_s3.plugin

    # The one strict reader of configuration: the same types and key paths as in a file.
    plugins = wmtp.create_plugin_manager(plugins=[wmtp_s3.plugin], entry_points=False)
    try:
        environment = wmtp.load_config({"storage": dict(section)}, plugins=plugins)
    except wmtp.ConfigError as error:
        return _refused(str(error))
    return _open(environment.storage.settings)


def _open(settings: Any) -> S3Storage | None:
    from wmtp_s3.storage import S3Error, S3Storage

    try:
        return S3Storage(settings)
    except S3Error as error:
        return _refused(str(error), calls=3)


def _refused(why: str, *, calls: int = 2) -> S3Storage | None:
    """The warning is about the line that called `create_s3_manager`, so many calls away."""
    warnings.warn(f"no S3 storage: {why}", UserWarning, stacklevel=calls + 1)
    return None

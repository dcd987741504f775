"""Where things lie in storages: keys and URLs, as locations of the chain and as destinations of uploads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wmtp.config.config import Config, StorageConfig
from wmtp.contracts.loading import Resource
from wmtp.errors import ConfigError, ResourceError, WmtpError
from wmtp.storage.chain import Location, NotHere
from wmtp.storage.keys import BadKey
from wmtp.storage.remote import STORAGE_ADVICE, Remote
from wmtp.storage.transfer import Report, upload

if TYPE_CHECKING:
    from wmtp.contracts.storage import Storage
    from wmtp.plugins import Plugins


def model_key(reference: str) -> str:
    """Where a storage has the model of this id."""
    return f"models/{reference.replace('/', '--')}"


def url_opener(url: str, section: StorageConfig, plugins: Plugins) -> tuple[str, Callable[[], tuple[Storage, str]]]:
    """The mode that a URL belongs to, and what opens it: the storage, and the key in it. Raises ConfigError if nobody does."""
    scheme = url.partition("://")[0]
    if scheme not in plugins.schemes:
        raise ConfigError(plugins.missing("URL scheme", scheme, plugins.schemes))
    spec = plugins.schemes[scheme].spec
    if spec.open_url is None:
        raise ConfigError(f"storage {spec.mode!r} opens no URLs: {url}")
    return spec.mode, partial(spec.open_url, url, section.by_mode.get(spec.mode))


def open_destination(key: str, config: Config, plugins: Plugins) -> tuple[Storage, str, str]:
    """Where something is uploaded to: the storage, the prefix in it, and how to call the location.

    Args:
        key: Key below the storage's prefix, or a URL. config: Whose storage. plugins: Who opens it.

    Raises:
        ConfigError: The storage is this machine and the key no URL, or nobody opens the URL.
    """
    section = config.storage
    if "://" in key:
        storage, prefix = url_opener(key, section, plugins)[1]()
        return storage, f"{prefix.rstrip('/')}/", key
    if section.mode == "local":
        raise ConfigError(
            "storage.mode is local, so there is nowhere to upload to; set another, or give a URL with --to"
        )
    return plugins.storages[section.mode].spec.open(section.settings), f"{key.strip('/')}/", f"{section.mode}: {key}"


def upload_folder(folder: Path, to: str, config: Config, *, plugins: Plugins) -> str:
    """Put a folder into a storage, its manifest last.

    Args:
        folder: What is uploaded, with all it holds.
        to: Key below the configured storage's prefix, or a URL such as ``s3://bucket/key``.
        config: Whose storage. plugins: Who opens it.

    Returns:
        How to call the location.

    Raises:
        ConfigError: Nobody opens the location, or the folder holds what cannot be uploaded.
        ResourceError: It is not whole there.
    """
    storage, prefix, shown = open_destination(to, config, plugins)
    try:
        upload(storage, folder, prefix)
    except BadKey as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ResourceError(f"{shown} is not whole, and has no new manifest: {error}") from error
    return shown


class ReadsStorage:
    """What a loader reads from can be given, instead of the configured storage; `s3_manager` is another name of it."""

    storage: Storage | None

    @property
    def s3_manager(self) -> Storage | None:
        return self.storage

    @s3_manager.setter
    def s3_manager(self, storage: Storage | None) -> None:
        self.storage = storage


class Remotes:
    """Cache and storage as locations of the chain. The storage is opened when the chain comes to it, not before."""

    def __init__(
        self,
        plugins: Plugins,
        section: StorageConfig,
        cache: Path,
        limit: int | None = None,
        report: Report | None = None,
    ) -> None:
        """limit: bytes that the cache may hold. report: hears of bytes as they are fetched."""
        self.plugins, self._section, self._cache = plugins, section, cache
        self._limit, self._report = limit, report

    def of_key(self, given: Storage | None, prefix: str, patterns: tuple[str, ...] | None) -> list[Location]:
        """What lies under a key of the configured storage, or of one that was handed over."""
        mode = self._section.mode
        if given is None and mode == "local":
            return []
        name = mode if given is None else f"{mode}, handed over"

        def open_storage() -> tuple[Storage, str]:
            return given or self.plugins.storages[mode].spec.open(self._section.settings), prefix

        return self._locations(
            f"{name} ({self._where(prefix)})", f"{name} {self._where(prefix)}", open_storage, patterns
        )

    def _where(self, prefix: str) -> str:
        """How to call what lies below a prefix: no two places have one name, since the cache keeps them apart by it."""
        spec, settings = self.plugins.storages[self._section.mode].spec, self._section.settings
        if spec.describe is not None:
            return str(spec.describe(settings, prefix))
        shown = attrs.fields(type(settings)) if attrs.has(type(settings)) else ()
        named = [str(getattr(settings, field.name)) for field in shown if field.repr]
        return "/".join([*(text for text in named if text not in ("", "None")), prefix])

    def of_url(self, url: str, patterns: tuple[str, ...] | None) -> list[Location]:
        """What lies at a URL. Raises ConfigError where no plugin opens its scheme."""
        mode, opener = url_opener(url, self._section, self.plugins)
        return self._locations(url, f"{mode} {url}", opener, patterns)

    def _locations(
        self, title: str, source: str, opener: Callable[[], tuple[Storage, str]], patterns: tuple[str, ...] | None
    ) -> list[Location]:
        made: list[Remote] = []

        def remote() -> Remote:
            if not made:
                try:
                    storage, prefix = opener()
                except WmtpError:
                    raise
                except Exception as error:  # a client that cannot be made; kept as this location's reason
                    raise NotHere(f"it cannot be opened: {error}", STORAGE_ADVICE) from error
                made.append(Remote(storage, source, prefix, self._cache, patterns, self._report, self._limit))
            return made[0]

        return [
            Location(f"cache ({self._cache})", lambda: remote().from_cache()),
            Location(f"storage {title}", lambda: remote().from_storage()),
        ]


def local_folder(path: Path) -> Resource:
    """A folder of this machine as a resource. Raises NotHere where it is none."""
    path = path.expanduser()
    if not path.is_dir():
        raise NotHere("it does not exist" if not path.exists() else "it is not a folder")
    return Resource(path, "local")

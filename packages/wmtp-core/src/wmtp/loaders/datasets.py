"""The rows of a data set: where they are, and how its plugin reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmtp.config.config import Config
from wmtp.contracts.loading import DatasetRequest, Resource
from wmtp.errors import ConfigError
from wmtp.loaders.locations import ReadsStorage, Remotes
from wmtp.loaders.settings import LoaderConfig, as_config, as_loader_config
from wmtp.plugins.calling import called, read
from wmtp.regular_files import check_regular
from wmtp.storage.chain import Location, NotHere, resolve
from wmtp.storage.hub import from_hub
from wmtp.storage.transfer import Report

if TYPE_CHECKING:
    from wmtp.contracts.storage import Storage
    from wmtp.plugins import Plugins


class DataLoader(ReadsStorage):
    """Rows of one data set. `storage` (alias `s3_manager`) can be given, to read from it instead of the configured one."""

    def __init__(
        self, dataset: str, remotes: Remotes, local: str | None, storage: Storage | None, *, given: bool = False
    ) -> None:
        """given: `local` was given by the caller, and no key of config.yaml says it."""
        plugins = remotes.plugins
        if dataset not in plugins.datasets:
            raise ConfigError(plugins.missing("data set", dataset, plugins.datasets))
        self._owned = plugins.datasets[dataset]
        self._spec = self._owned.spec
        self._url = local if local and "://" in local else ""
        self._local = Path(local) if local and not self._url else None
        self._key = f"paths.datasets.{dataset}_local"
        self._given = given
        self._remotes = remotes
        self.storage = storage
        self._resource: Resource | None = None
        self._resources: dict[tuple[str, ...] | None, Resource] = {}

    @property
    def resource(self) -> Resource:
        """Where the rows are read from. Raises ResourceError naming every location tried."""
        return self._fetch()

    @property
    def found(self) -> Resource | None:
        """The resource last asked for, if any was; ``None`` for a data set that comes with its plugin."""
        return self._resource

    def _fetch(self, patterns: tuple[str, ...] | None = None) -> Resource:
        if patterns not in self._resources:
            name = self._spec.name
            locations = [
                Location("the path that was given" if self._given else f"local copy ({self._key})", self._from_local)
            ]
            if self._url:
                locations = self._remotes.of_url(self._url, patterns)
            else:
                locations += self._remotes.of_key(self.storage, f"datasets/{name}/", patterns)
            if self._spec.hub_id:
                locations.append(Location(f"hub ({self._spec.hub_id})", lambda: self._from_hub(patterns)))
            advice = f"Set {self._key} in config.yaml to the file or folder that holds it."
            if self._given:
                advice = "Give the path of the file or folder that holds it."
            self._resources[patterns] = resolve(f"data set {name!r}", locations, advice)
        self._resource = self._resources[patterns]
        return self._resource

    def _from_local(self) -> Resource:
        if self._local is None:
            raise NotHere("not set")
        if not self._local.exists():
            raise NotHere(f"{self._local} does not exist")
        check_regular(self._local, f"rows of the data set {self._spec.name!r}")
        return Resource(self._local, "local")

    def _from_hub(self, patterns: tuple[str, ...] | None) -> Resource:
        assert self._spec.hub_id
        wanted = patterns or self._spec.hub_patterns or None
        return from_hub(self._spec.hub_id, "dataset", revision=None, patterns=wanted)

    def rows(self, split: str, limit: int | None = None) -> Iterable[Mapping[str, Any]]:
        """The rows of a split, as the data set's plugin reads them. limit: no more than this many will be read."""
        request = DatasetRequest(dataset=self._spec.name, split=split, fetch=self._fetch, limit=limit)
        what = f"DatasetSpec.load of data set {self._spec.name!r}"
        with called(what, self._owned):
            found: object = self._spec.load(request)
        return read(found, what, self._owned)


def create_data_loader(
    config: Config | LoaderConfig | Mapping[str, Any],
    dataset: str,
    *,
    plugins: Plugins,
    storage: Storage | None = None,
    path: Path | str | None = None,
    report: Report | None = None,
) -> DataLoader:
    """A loader of one data set's rows.

    path: a file, folder or URL that goes before everything configured. report: hears of bytes as they are fetched.
    Raises ConfigError for a data set that is not installed, or a configuration that is wrong (flat keys are refused).
    """
    given: str | Path | None = path
    if not isinstance(config, Config):
        record = as_loader_config(config, plugins)
        given = path or record.local_path
        config = as_config(record, plugins)
    paths = config.paths
    local = str(given) if given else paths.datasets.get(dataset)
    remotes = Remotes(plugins, config.storage, Path(paths.cache), paths.cache_bytes, report)
    return DataLoader(dataset, remotes, local, storage, given=bool(given))

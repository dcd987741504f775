"""Finding and loading put together: the data and model loaders that everything above uses.

Where from: a local copy of *that* resource, then the cache, then the storage of ``storage.mode``, then the hub.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from wmtp.config import load_config, load_section
from wmtp.config.config import Config, ModelPath, StorageConfig
from wmtp.config.recipe import DEFAULT_MODEL_IDS, DEFAULT_VARIANT, ModelConfig, Recipe
from wmtp.config.recipe_sections import model_reference
from wmtp.contracts.specs import Check, DatasetRequest, Fetch, LoaderSpec, LoadRequest, Resource
from wmtp.errors import ConfigError, ResourceError, WmtpError
from wmtp.replicas import devices_of, open_replicas, threads_of
from wmtp.storage.chain import NotHere, Place, resolve
from wmtp.storage.hub import from_hub
from wmtp.storage.keys import BadKey
from wmtp.storage.remote import STORAGE_ADVICE, Remote
from wmtp.storage.transfer import Report, upload

if TYPE_CHECKING:
    from wmtp.contracts.engines import Engine
    from wmtp.contracts.storage import Storage
    from wmtp.models import LoadedModel
    from wmtp.plugins import Plugins


log = logging.getLogger("wmtp.loaders")
Role = Literal["base", "rm", "ref"]


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
    """Where something is uploaded to: the storage, the prefix in it, and how to call the place.

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
        How to call the place.

    Raises:
        ConfigError: Nobody opens the place, or the folder holds what cannot be uploaded.
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


class Remotes:
    """Cache and storage as places of the chain. The storage is opened when the chain comes to it, not before."""

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

    def of_key(self, given: Storage | None, prefix: str, patterns: tuple[str, ...] | None) -> list[Place]:
        """What lies under a key of the configured storage, or of one that was handed over."""
        mode = self._section.mode
        if given is None and mode == "local":
            return []
        name = mode if given is None else f"{mode}, handed over"

        def open_storage() -> tuple[Storage, str]:
            return given or self.plugins.storages[mode].spec.open(self._section.settings), prefix

        return self._places(f"{name} ({self._where(prefix)})", f"{name} {self._where(prefix)}", open_storage, patterns)

    def _where(self, prefix: str) -> str:
        settings = self._section.settings
        place = [str(getattr(settings, a, "") or "") for a in ("endpoint_url", "bucket", "prefix")]
        return "/".join(part for part in (*place[:2], f"{place[2]}{prefix}") if part)

    def of_url(self, url: str, patterns: tuple[str, ...] | None) -> list[Place]:
        """What lies at a URL. Raises ConfigError where no plugin opens its scheme."""
        mode, opener = url_opener(url, self._section, self.plugins)
        return self._places(url, f"{mode} {url}", opener, patterns)

    def _places(
        self, title: str, source: str, opener: Callable[[], tuple[Storage, str]], patterns: tuple[str, ...] | None
    ) -> list[Place]:
        made: list[Remote] = []

        def remote() -> Remote:
            if not made:
                try:
                    storage, prefix = opener()
                except WmtpError:
                    raise
                except Exception as error:  # a client that cannot be made; kept as this place's reason
                    raise NotHere(f"it cannot be opened: {error}", STORAGE_ADVICE) from error
                made.append(Remote(storage, source, prefix, self._cache, patterns, self._report, self._limit))
            return made[0]

        return [
            Place(f"cache ({self._cache})", lambda: remote().from_cache()),
            Place(f"storage {title}", lambda: remote().from_storage()),
        ]


@attrs.frozen(kw_only=True)
class LoaderConfig:
    """What a loader needs of a config, for those who have no config.yaml.

    storage      the ``storage`` section, nested form.
    local_path   a file or folder to read first; for a model, a copy of its role's default.
    model_paths  role (``base``, ``rm``, ``ref``) → local copy. cache_dir: where downloads are kept.
    """

    storage: Mapping[str, Any] | None = None
    local_path: str | Path | None = None
    model_paths: Mapping[str, ModelPath] = attrs.field(factory=dict)
    cache_dir: str | Path = ".cache"


class DataLoader:
    """Rows of one data set. `storage` (alias `s3_manager`) can be given, to read from it instead of the configured one."""

    def __init__(self, dataset: str, remotes: Remotes, local: str | None, storage: Storage | None) -> None:
        plugins = remotes.plugins
        if dataset not in plugins.datasets:
            raise ConfigError(plugins.missing("data set", dataset, plugins.datasets))
        self._spec = plugins.datasets[dataset].spec
        self._url = local if local and "://" in local else ""
        self._local = Path(local) if local and not self._url else None
        self._remotes = remotes
        self.storage = storage
        self._resource: Resource | None = None
        self._resources: dict[tuple[str, ...] | None, Resource] = {}

    @property
    def s3_manager(self) -> Storage | None:
        return self.storage

    @s3_manager.setter
    def s3_manager(self, storage: Storage | None) -> None:
        self.storage = storage

    @property
    def resource(self) -> Resource:
        """Where the rows are read from. Raises ResourceError naming every place tried."""
        return self._fetch()

    @property
    def found(self) -> Resource | None:
        """The resource last asked for, if any was; ``None`` for a data set that comes with its plugin."""
        return self._resource

    def _fetch(self, patterns: tuple[str, ...] | None = None) -> Resource:
        if patterns not in self._resources:
            name = self._spec.name
            places = [Place(f"local copy (paths.datasets.{name}_local)", self._from_local)]
            if self._url:
                places = self._remotes.of_url(self._url, patterns)
            else:
                places += self._remotes.of_key(self.storage, f"datasets/{name}/", patterns)
            if self._spec.hub_id:
                places.append(Place(f"hub ({self._spec.hub_id})", lambda: self._from_hub(patterns)))
            advice = f"Set paths.datasets.{name}_local in config.yaml to the file or folder that holds it."
            self._resources[patterns] = resolve(f"data set {name!r}", places, advice)
        self._resource = self._resources[patterns]
        return self._resource

    def _from_local(self) -> Resource:
        if self._local is None:
            raise NotHere("not set")
        if not self._local.exists():
            raise NotHere(f"{self._local} does not exist")
        return Resource(self._local, "local")

    def _from_hub(self, patterns: tuple[str, ...] | None) -> Resource:
        assert self._spec.hub_id
        wanted = patterns or self._spec.hub_patterns or None
        return from_hub(self._spec.hub_id, "dataset", revision=None, patterns=wanted)

    def rows(self, split: str, limit: int | None = None) -> Iterable[Mapping[str, Any]]:
        """The rows of a split, as the data set's plugin reads them. limit: no more than this many will be read."""
        request = DatasetRequest(dataset=self._spec.name, split=split, fetch=self._fetch, limit=limit)
        return self._spec.load(request)


class ModelLoader:
    """One model: which it is, where it comes from, and the engine that runs it."""

    def __init__(
        self,
        config: Config,
        recipe: Recipe,
        plugins: Plugins,
        storage: Storage | None,
        role: Role = "base",
        report: Report | None = None,
    ) -> None:
        self.role = role
        self._copy: ModelPath | None = getattr(config.paths.models, f"{role}_local")
        # A recipe is about its base model; it names no other.
        model = recipe.model if role == "base" else ModelConfig()
        named = model.base_id or os.environ.get(f"WMTP_MODEL_{role.upper()}")
        # The default comes last: command line, recipe, environment variable and the local copy's own id always win.
        reference = named or (self._copy.id if self._copy else DEFAULT_MODEL_IDS[role])
        self.reference = model_reference(reference, plugins)  # absolute, as in a recipe: it may be opened elsewhere
        default = DEFAULT_VARIANT if self.reference == DEFAULT_MODEL_IDS["base"] else None
        self.variant = model.variant or (self._copy.variant if self._copy and not named else None) or default
        self._model, self._config, self._recipe, self._plugins = model, config, recipe, plugins
        paths = config.paths
        self._remotes = Remotes(plugins, config.storage, Path(paths.cache), paths.cache_bytes, report)
        self.storage = storage
        self._resources: dict[tuple[str, ...] | None, Resource] = {}

    @property
    def s3_manager(self) -> Storage | None:
        return self.storage

    @s3_manager.setter
    def s3_manager(self, storage: Storage | None) -> None:
        self.storage = storage

    def resolve(self, patterns: tuple[str, ...] | None = None) -> Resource:
        """The model's files on this machine. Raises ResourceError naming every place tried."""
        if patterns not in self._resources:
            self._resources[patterns] = resolve(f"model {self._named()}", self._places(patterns), self._advice())
        return self._resources[patterns]

    def _resolve_other(self, reference: str, revision: str | None) -> Fetch:
        """As `resolve`, of another model that this one needs."""
        recipe = attrs.evolve(self._recipe, model=ModelConfig(base_id=reference, revision=revision))
        other = ModelLoader(self._config, recipe, self._plugins, self.storage)
        return other.resolve

    def _named(self) -> str:
        return f"{self.reference!r}" + (f" ({self.variant})" if self.variant else "")

    def _advice(self) -> str:
        where = "model.base_id" if self.role == "base" else f"WMTP_MODEL_{self.role.upper()}"
        return (
            f"Name a folder, a hub id or an s3:// reference in {where}, or a local copy in "
            f"paths.models.{self.role}_local: {{id: …, variant: …, path: …}}."
        )

    def _places(self, patterns: tuple[str, ...] | None) -> list[Place]:
        if self._is_path():
            return [Place(f"folder {self.reference}", lambda: _folder(Path(self.reference)))]
        if "://" in self.reference:
            return self._remotes.of_url(self.reference, patterns)
        return [
            Place(f"local copy (paths.models.{self.role}_local)", self._from_copy),
            *self._remotes.of_key(self.storage, f"{model_key(self.reference)}/", patterns),
            Place(f"hub ({self.reference})", lambda: self._from_hub(patterns)),
        ]

    def _is_path(self) -> bool:
        return self.reference.startswith(("/", ".", "~")) or Path(self.reference).is_dir()

    def _from_copy(self) -> Resource:
        """A local path is a copy of one named model; it never stands in for another."""
        if self._copy is None:
            raise NotHere("not set")
        if (self._copy.id, self._copy.variant) != (self.reference, self.variant):
            other = f"{self._copy.id}" + (f" ({self._copy.variant})" if self._copy.variant else "")
            why = f"{self._copy.path} is a copy of {other}, not of this model"
            log.info("paths.models.%s_local is skipped: %s", self.role, why)
            raise NotHere(why)
        return _folder(Path(self._copy.path))

    def _from_hub(self, patterns: tuple[str, ...] | None) -> Resource:
        return from_hub(self.reference, "model", revision=self._model.revision, patterns=patterns)

    @property
    def replays(self) -> bool:
        """Whether the samples are written already, and how many there are is not ours to choose."""
        try:
            return bool(self._loader().replays)
        except WmtpError:  # told when the model is opened
            return False

    def checks(self) -> Iterable[Check]:
        """What whoever runs the model can do, as far as its loader can tell. Raises ConfigError where no loader matches."""
        spec = self._loader()
        if spec.check is None:
            return [Check("model", None, f"loader {spec.name} has nothing to tell before it loads {self.reference}")]
        return spec.check(self.reference, self._settings(spec))  # type: ignore[no-any-return]

    @property
    def switches_drafts(self) -> bool:
        """Whether the recipe decides that the engine drafts. Raises ConfigError where no loader matches."""
        return bool(self._loader().switches_drafts)

    def stamp(self) -> dict[str, str]:
        """A cheap stamp of what would be loaded, without loading it: the reference, and files' sizes and times if local."""
        stamp = {"reference": self.reference, "variant": self.variant or ""}
        stamp["revision"] = self._model.revision or ""
        stamp["devices"] = f"{self._config.devices.device} {self._config.devices.dtype}"
        folder = self._local_path() or Path(self.reference)
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder] if folder.is_file() else []:
            if path.is_file():
                status = path.stat()
                stamp[str(path.relative_to(folder))] = (
                    f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
                )
        return stamp

    def _local_path(self) -> Path | None:
        """What the reference names on this machine, where its loader knows better than its text says; else a local copy."""
        chosen = [o.spec for o in self._plugins.loaders.values() if self._model.loader in (None, o.spec.name)]
        for spec in chosen:
            if spec.local_path is not None and spec.matches(self.reference):
                found: Path | None = spec.local_path(self.reference)
                return found
        return Path(self._copy.path) if self._copy and not self._is_path() else None

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs to find the model by the same chain: configuration alone. Its plugins are its own."""
        if self.storage is not None:
            raise TypeError(
                "a storage that was handed over cannot travel to another process; configure it in config.yaml"
            )
        return _reopened, (self._config, self._recipe, self.role, self.reference, self.variant)

    def load(self, threads: int | None = None) -> Engine:
        """Opens the model with the one loader that matches. Raises ConfigError where none or several do.

        threads: how many a run was begun with, where config.yaml leaves the number open.
        """
        spec, devices = self._loader(), self._config.devices
        if spec.on_devices and devices.replicas != 1:
            return self._replicas(devices_of(devices.device, devices.replicas))
        engine: Engine = spec.load(self._request(spec, threads))
        return engine

    def load_model(self, *, device: str | None = None, dtype: str | None = None) -> LoadedModel:
        """The model itself and its tokenizer, found by the same chain, for whoever trains it or scores with it.

        Args:
            device: Instead of config's ``devices.device``.
            dtype: Instead of config's ``devices.dtype``.

        Raises:
            ConfigError: No loader matches, several do, or the one that does has engines only.
            ResourceError: It is nowhere, or damaged.
        """
        spec = self._loader()
        if spec.load_model is None:
            raise ConfigError(
                f"model {self.reference!r} can be asked but not opened: loader {spec.name} gives no weights. Name a folder, a "
                "hub id or an s3:// reference."
            )
        request = self._request(spec)
        loaded: LoadedModel = spec.load_model(
            attrs.evolve(request, device=device or request.device, dtype=dtype or request.dtype)
        )
        return loaded

    def _request(self, spec: LoaderSpec, threads: int | None = None) -> LoadRequest:
        model, devices = self._model, self._config.devices
        batch_size = self._recipe.eval.batch_size
        return LoadRequest(
            reference=self.reference,
            fetch=self.resolve,
            fetch_of=self._resolve_other,
            revision=model.revision,
            variant=self.variant,
            device=devices.device,
            dtype=devices.dtype,
            n_heads=model.mtp.n_heads,
            speculative=model.mtp.speculative,
            batch_size=None if batch_size == "auto" else batch_size,
            threads=threads if devices.threads == "auto" else devices.threads,
            settings=self._settings(spec),
            trust_remote_code=model.trust_remote_code,
            architectures=tuple(owned.spec for owned in self._plugins.architectures.values()),
        )

    def _replicas(self, devices: Sequence[str]) -> Engine:
        """An engine in a process for each device; the files are brought here once, before."""
        loaders = []
        section = attrs.evolve(self._config.devices, replicas=1)
        if section.threads == "auto" and len(devices) > 1:
            section = attrs.evolve(section, threads=threads_of(len(devices)))
        for device in devices:
            config = attrs.evolve(self._config, devices=attrs.evolve(section, device=device))
            loader = ModelLoader(config, self._recipe, self._plugins, self.storage, self.role)
            loader.reference, loader.variant = self.reference, self.variant
            loaders.append(loader)
        if len(loaders) == 1:
            return loaders[0].load()
        _ = self.resolve()
        return open_replicas(loaders)

    def _settings(self, spec: LoaderSpec) -> Any:
        """What the recipe says of this loader, or its defaults. Raises ConfigError where an option without one is missing."""
        if spec.settings is None or spec.name in self._model.loaders:
            return self._model.loaders.get(spec.name)
        return load_section(spec.settings, {}, plugins=self._plugins, root=f"recipe.model.loaders.{spec.name}")

    def _loader(self) -> Any:
        chosen = self._model.loader
        if chosen:
            return self._plugins.loaders[chosen].spec
        if self._is_path():
            _ = self.resolve()  # a folder that is not there is told before asking who could read it
        scheme, url, _ = self.reference.partition("://")
        foreign = bool(url) and scheme not in self._plugins.schemes  # no storage opens it: it is for engines of its own
        specs = self._plugins.loaders.values()
        matching = [o for o in specs if o.spec.matches(self.reference) and not (foreign and o.spec.fetches)]
        if not matching and foreign:
            kind, colon, _ = scheme.partition(":")
            if colon:  # a reference like openai:http://…, whose loader is not installed
                raise ConfigError(self._plugins.missing("loader", kind, self._plugins.loaders))
            raise ConfigError(self._plugins.missing("URL scheme", scheme, self._plugins.schemes))
        if len(matching) == 1:
            return matching[0].spec
        names = ", ".join(sorted(self._plugins.loaders))
        if not matching:
            raise ConfigError(
                f"no loader knows what to do with model {self.reference!r}; installed loaders: {names}. A folder must hold "
                f"config.json (transformers) or {self.variant or '<variant>'}/params.json (Meta's format); an adapter "
                "adapter_config.json."
            )
        claims = ", ".join(f"{o.spec.name} ({o.distribution})" for o in matching)
        raise ConfigError(f"several loaders match model {self.reference!r}: {claims}; choose one with model.loader")


def _reopened(config: Config, recipe: Recipe, role: Role, reference: str, variant: str | None) -> ModelLoader:
    """A loader that came from another process, with this process's plugins."""
    from wmtp.plugins import create_plugin_manager

    loader = ModelLoader(config, recipe, create_plugin_manager(), None, role)
    loader.reference, loader.variant = reference, variant
    return loader


def _folder(path: Path) -> Resource:
    path = path.expanduser()
    if not path.is_dir():
        raise NotHere("it does not exist" if not path.exists() else "it is not a folder")
    return Resource(path, "local")


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
        record = _loader_config(config, plugins)
        given = path or record.local_path
        config = _config(record, plugins)
    paths = config.paths
    local = str(given) if given else paths.datasets.get(dataset)
    remotes = Remotes(plugins, config.storage, Path(paths.cache), paths.cache_bytes, report)
    return DataLoader(dataset, remotes, local, storage)


def create_model_loader(
    config: Config | LoaderConfig | Mapping[str, Any],
    recipe: Recipe,
    *,
    plugins: Plugins,
    storage: Storage | None = None,
    role: Role = "base",
    report: Report | None = None,
) -> ModelLoader:
    """A loader of the recipe's model, or of the reward (``rm``) or reference model (``ref``) that goes with it.

    report: hears of bytes as they are fetched. Raises ConfigError for a configuration that is wrong.
    """
    if not isinstance(config, Config):
        config = _config(_loader_config(config, plugins), plugins, role)
    return ModelLoader(config, recipe, plugins, storage, role, report)


def _loader_config(config: LoaderConfig | Mapping[str, Any], plugins: Plugins) -> LoaderConfig:
    if isinstance(config, LoaderConfig):
        return config
    return load_section(LoaderConfig, config, plugins=plugins, root="loader config")


def _config(record: LoaderConfig, plugins: Plugins, role: Role | None = None) -> Config:
    """The same as a config. role: the one whose model `local_path` stands for."""
    models: dict[str, Any] = {f"{name}_local": attrs.asdict(copy) for name, copy in record.model_paths.items()}
    if role and record.local_path:
        models.setdefault(f"{role}_local", str(record.local_path))
    source: dict[str, Any] = {"paths": {"models": models, "cache": str(record.cache_dir)}}
    if record.storage:
        source["storage"] = dict(record.storage)
    return load_config(source, plugins=plugins)

"""A model: which it is, where it comes from, and what opens it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wmtp.config import load_section
from wmtp.config.config import Config, ModelPath
from wmtp.config.recipe import DEFAULT_MODEL_IDS, DEFAULT_VARIANT, ModelConfig, Recipe
from wmtp.config.recipe_sections import model_reference
from wmtp.contracts.catalog import Registered
from wmtp.contracts.loading import Fetch, LoadRequest, Resource
from wmtp.contracts.specs import Check, LoaderSpec
from wmtp.errors import ConfigError, WmtpError
from wmtp.loaders.locations import ReadsStorage, Remotes, local_folder, model_key
from wmtp.loaders.settings import LoaderConfig, Role, as_config, as_loader_config
from wmtp.plugins.calling import called
from wmtp.replicas import devices_of, open_replicas, threads_of
from wmtp.storage.chain import Location, NotHere, resolve
from wmtp.storage.hub import from_hub
from wmtp.storage.transfer import Report

if TYPE_CHECKING:
    from wmtp.contracts.engines import Engine
    from wmtp.contracts.storage import Storage
    from wmtp.models import LoadedModel
    from wmtp.plugins import Plugins

log = logging.getLogger("wmtp.loaders")


class ModelLoader(ReadsStorage):
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
        self._whole_digests = False
        self._resources: dict[tuple[str, ...] | None, Resource] = {}

    def resolve(self, patterns: tuple[str, ...] | None = None) -> Resource:
        """The model's files on this machine. Raises ResourceError naming every location tried."""
        if patterns not in self._resources:
            self._resources[patterns] = resolve(f"model {self._named()}", self._locations(patterns), self._advice())
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

    def _locations(self, patterns: tuple[str, ...] | None) -> list[Location]:
        if self._is_path():
            return [Location(f"folder {self.reference}", lambda: local_folder(Path(self.reference)))]
        if "://" in self.reference:
            return self._remotes.of_url(self.reference, patterns)
        return [
            Location(f"local copy (paths.models.{self.role}_local)", self._from_copy),
            *self._remotes.of_key(self.storage, f"{model_key(self.reference)}/", patterns),
            Location(f"hub ({self.reference})", lambda: self._from_hub(patterns)),
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
        return local_folder(Path(self._copy.path))

    def _from_hub(self, patterns: tuple[str, ...] | None) -> Resource:
        return from_hub(self.reference, "model", revision=self._model.revision, patterns=patterns)

    @property
    def replays(self) -> bool:
        """Whether the samples are written already, and how many there are is not ours to choose."""
        try:
            return bool(self._loader().replays)
        except WmtpError:  # told when the model is opened
            return False

    @property
    def owned(self) -> Registered[LoaderSpec]:
        """The loader, and whose it is. Raises ConfigError where none matches."""
        return self._plugins.loaders[self._loader().name]

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
        return _reopened, (self._config, self._recipe, self.role, self.reference, self.variant, self._whole_digests)

    def load(self, threads: int | None = None, *, whole_digests: bool = False) -> Engine:
        """Open the model with the one loader that matches.

        Args:
            threads: How many a run was begun with, where config.yaml leaves the number open.
            whole_digests: `LoadRequest.whole_digests`.

        Raises:
            ConfigError: No loader matches, or several do.
        """
        self._whole_digests |= whole_digests
        spec, devices = self._loader(), self._config.devices
        if spec.on_devices and devices.replicas != 1:
            return self._replicas(devices_of(devices.device, devices.replicas))
        request, what = self._request(spec, threads), f"LoaderSpec.load of loader {spec.name!r} for {self.reference!r}"
        with called(what, self._plugins.loaders[spec.name]):
            engine: Engine = spec.load(request)
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
            whole_digests=self._whole_digests,
        )

    def _take_over(self, reference: str, variant: str | None, whole_digests: bool) -> None:
        """What another loader of the same model has found out."""
        self.reference, self.variant, self._whole_digests = reference, variant, whole_digests

    def _replicas(self, devices: Sequence[str]) -> Engine:
        """An engine in a process for each device; the files are brought here once, before."""
        loaders = []
        section = attrs.evolve(self._config.devices, replicas=1)
        if section.threads == "auto" and len(devices) > 1:
            section = attrs.evolve(section, threads=threads_of(len(devices)))
        for device in devices:
            config = attrs.evolve(self._config, devices=attrs.evolve(section, device=device))
            loader = ModelLoader(config, self._recipe, self._plugins, self.storage, self.role)
            loader._take_over(self.reference, self.variant, self._whole_digests)
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
                f"no loader knows what to do with model {self.reference!r}{self._near()}; installed loaders: {names}. A folder "
                f"must hold config.json (transformers) or {self.variant or '<variant>'}/params.json (Meta's format); an "
                "adapter adapter_config.json."
            )
        claims = ", ".join(f"{o.spec.name} ({o.distribution})" for o in matching)
        raise ConfigError(f"several loaders match model {self.reference!r}: {claims}; choose one with model.loader")

    def _near(self) -> str:
        """The reference that was meant, where the word in front of its colon is nearly a loader's."""
        from difflib import get_close_matches

        kind, colon, rest = self.reference.partition(":")
        found = get_close_matches(kind, list(self._plugins.loaders), n=1) if colon else []
        meant = [f"{name}:{rest}" for name in found if self._plugins.loaders[name].spec.matches(f"{name}:{rest}")]
        return f" (did you mean {meant[0]!r}?)" if meant else ""


def _reopened(
    config: Config, recipe: Recipe, role: Role, reference: str, variant: str | None, whole_digests: bool
) -> ModelLoader:
    """A loader that came from another process, with this process's plugins."""
    from wmtp.plugins import create_plugin_manager

    loader = ModelLoader(config, recipe, create_plugin_manager(), None, role)
    loader._take_over(reference, variant, whole_digests)
    return loader


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
        config = as_config(as_loader_config(config, plugins), plugins, role)
    return ModelLoader(config, recipe, plugins, storage, role, report)

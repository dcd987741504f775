"""`load_model`: a folder on this machine → model, tokenizer, and what they are."""

from __future__ import annotations

import json
import logging
import pickle
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch

from wmtp.contracts.architectures import ArchitectureSpec, HeadsFound
from wmtp.digests import cached_digest, digest_of
from wmtp.errors import Attempt, ConfigError, ResourceError, first_line
from wmtp.models.adapter import CONFIG, Adapter, FindBase, is_adapter
from wmtp.models.architectures.found import model_types
from wmtp.models.architectures.load import Checkpoint, StoredModules
from wmtp.models.architectures.module import SequentialModules
from wmtp.models.causal import check_config
from wmtp.models.gguf import gguf_file, load_gguf
from wmtp.models.placement import input_device
from wmtp.models.quantised import method_of
from wmtp.models.stored_weights import check_pickles, check_unscaled
from wmtp.models.tokenizer import load_tokenizer
from wmtp.models.weight_files import weight_files

log = logging.getLogger("wmtp.models")
_DECISIVE = ("config.json", "generation_config.json", "*token*", "*vocab*", "merges.txt", "chat_template*")
BALANCED = "balanced"
_NUMBER = re.compile(r"\d+")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


@attrs.frozen
class LoadedModel:
    """A model in eval mode on its device, its tokenizer, and its identity: format, dtype, device kind, and the hashes of its
    weights and of what else decides a sample (configuration and tokenizer).

    variant: which variant of a checkpoint of Meta's it is, as the files themselves say; ``""`` where they do not.
    version: what pins the files it came from; ``""`` where nothing does.
    folder: where they are.
    heads: what was found of multi-token-prediction modules. stored_modules: those that can be run, not read yet.
    """

    model: Any
    tokenizer: Any
    identity: Mapping[str, str]
    variant: str = ""
    heads: HeadsFound = attrs.field(factory=HeadsFound)
    stored_modules: StoredModules | None = None
    version: str = ""
    folder: Path | None = None

    @property
    def modules(self) -> SequentialModules | None:
        """Its sequential modules. They are read when they are asked for."""
        return self.stored_modules.open() if self.stored_modules else None


def choose_device(name: str) -> str:
    """``auto`` is the first CUDA device if there is one, ``balanced`` all. Raises ConfigError for one that is not here."""
    if name == BALANCED:
        return name
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        why = first_line(error).partition(". ")[0]  # behind it, torch lists all that it was built for
        raise ConfigError(f"device {name!r} (devices.device) cannot be used here: {why}") from None
    return name


def one_device(name: str) -> str:
    """The device, if it is one. Raises ConfigError for a model that would be spread over several."""
    if name == BALANCED:
        raise ConfigError("devices.device: balanced spreads models of transformers; for this one name a device")
    return name


def choose_dtype(name: str) -> torch.dtype | None:
    """A torch dtype by name; ``auto`` is ``None``: as the weights are stored."""
    if name == "auto":
        return None
    if name not in DTYPES:
        raise ConfigError(f"dtype {name!r} is none of auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def load_model(
    path: Path,
    *,
    variant: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    architectures: Sequence[ArchitectureSpec] = (),
    find_base: FindBase | None = None,
    whole_digests: bool = False,
) -> LoadedModel:
    """Loads a folder in transformers format, in Meta's layout, a GGUF file in it, or an adapter with the model it belongs to.

    A folder that `convert` wrote says which variant it is, and another one asked for is a ConfigError.

    Args:
        path: the folder.
        variant: chooses among Meta's subfolders, or among several GGUF files.
        device: a torch name, ``auto``, or ``balanced`` for a model spread over all graphics processors.
        dtype: a torch name, or ``auto``: as stored.
        trust_remote_code: lets the folder's own Python files run.
        architectures: records by which modules behind a trunk are known.
        find_base: finds the model that an adapter belongs to; ``None`` knows folders alone.
        whole_digests: `LoadRequest.whole_digests`.

    Raises:
        ResourceError: what is missing or damaged, and where.
        ConfigError: device, dtype or variant is wrong.
        PluginError: a package that reads such a folder is not installed.
    """
    target, kind = choose_device(device), choose_dtype(dtype)
    if is_adapter(path):
        adapter = Adapter.look(path)
        weights = adapter.weights()
        base = load_model(
            adapter.find(find_base or _folder_alone),
            variant=variant, device=device, dtype=dtype, trust_remote_code=trust_remote_code,
            architectures=architectures, find_base=find_base, whole_digests=whole_digests,
        )  # fmt: skip
        return _adapted(base, adapter, weights, trust_remote_code, whole_digests)
    if (path / "config.json").is_file():
        parts = _read_transformers(path, variant, architectures, target, kind, trust_remote_code)
    elif (file := gguf_file(path, variant)) is not None:
        with _quiet():
            model, tokenizer = load_gguf(file, dtype=kind, device=target)
        others = sorted(path.glob("tokenizer*.json"))
        parts = _Read("gguf", model, tokenizer, [file], others, file.stem)
    else:
        parts = _read_meta(path, variant, target, kind)
    return attrs.evolve(parts.loaded(trust_remote_code, whole_digests), folder=path)


@attrs.frozen
class _Read:
    """What was read of a folder: the model, and the files that it is known by."""

    form: str
    model: Any
    tokenizer: Any
    weights: Sequence[Path]
    others: Sequence[Path]
    variant: str
    heads: HeadsFound = attrs.field(factory=HeadsFound)
    modules: StoredModules | None = None

    def loaded(self, trust_remote_code: bool, whole_digests: bool) -> LoadedModel:
        """The model with its identity."""
        identity = {
            "format": self.form,
            "architecture": type(self.model).__name__,
            "weights_sha256": cached_digest(self.weights, whole=whole_digests),
            "config_sha256": cached_digest(self.others, whole=whole_digests),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": input_device(self.model).type,
        }
        if method := method_of(self.model.config.to_dict()):
            identity["quantised"] = method
        if trust_remote_code:
            identity["trust_remote_code"] = "true"
        if self.heads.why:
            log.info("multi-token-prediction modules: %s", self.heads.why)
        return LoadedModel(self.model, self.tokenizer, identity, self.variant, self.heads, self.modules)


def _read_transformers(
    path: Path,
    variant: str | None,
    architectures: Sequence[ArchitectureSpec],
    device: str,
    dtype: torch.dtype | None,
    trust_remote_code: bool,
) -> _Read:
    used = _converted_variant(path, variant)
    checkpoint = Checkpoint.look(path, architectures)
    model, tokenizer, weights = _from_transformers(checkpoint, device, dtype, trust_remote_code)
    modules, heads = checkpoint.open(model)
    others = decisive_files(path, with_code=trust_remote_code)
    return _Read("transformers", model, tokenizer, weights, others, used, heads, modules)


def _read_meta(path: Path, variant: str | None, device: str, dtype: torch.dtype | None) -> _Read:
    from wmtp.models import meta

    folder = meta.choose(path, variant)
    used = meta.variant_name(folder, path, variant)
    model = meta.load_meta(folder, dtype=dtype, device=one_device(device))
    tokenizer = meta.load_tokenizer(folder, model.config.vocab_size)
    others = [folder / "params.json", meta.tokenizer_file(folder)]
    extra = model.config.n_future_tokens - 1
    heads = HeadsFound(family="parallel" if extra else "", modules=extra, used=bool(extra))
    return _Read("meta-mtp", model, tokenizer, [folder / "consolidated.pth"], others, used, heads)


def decisive_files(folder: Path, *, with_code: bool) -> list[Path]:
    """The files beside the weights that decide a sample."""
    found = [file for name in _DECISIVE for file in sorted(folder.glob(name))]
    return found + (sorted(folder.rglob("*.py")) if with_code else [])


def _folder_alone(base: str, revision: str | None) -> Path:
    if not Path(base).is_dir():
        raise ResourceError(f"{base} is no folder", [Attempt(f"folder {base}", "it does not exist")])
    return Path(base)


def _adapted(base: LoadedModel, adapter: Adapter, weights: Path, trust_remote_code: bool, whole: bool) -> LoadedModel:
    """A model with an adapter in it, known by the files of both."""
    quantised = getattr(base.model, "hf_quantizer", None) is not None
    own = any(True for name in ("tokenizer.json", "*.model", "vocab.*") for _ in adapter.folder.glob(name))
    model = adapter.put_into(base.model, merged=not quantised)
    others = [adapter.folder / CONFIG, *decisive_files(adapter.folder, with_code=False)]
    identity = {
        **base.identity,
        "format": f"{base.identity['format']} with {adapter.kind}",
        "weights_sha256": digest_of([base.identity["weights_sha256"], cached_digest([weights], whole=whole)]),
        "config_sha256": digest_of([base.identity["config_sha256"], cached_digest(sorted(set(others)), whole=whole)]),
    }
    loaded = attrs.evolve(base, model=model, identity=identity)
    if own:
        loaded = attrs.evolve(loaded, tokenizer=_own_tokenizer(adapter.folder, model, trust_remote_code))
    if quantised and base.stored_modules is not None:
        why = "not used: an adapter is not merged into quantised weights, and modules are made like the trunk's layers"
        return attrs.evolve(loaded, stored_modules=None, heads=attrs.evolve(base.heads, used=False, why=why))
    return loaded


def _converted_variant(path: Path, asked: str | None) -> str:
    """The variant that a transformers folder was converted from, as its config.json has it."""
    try:
        config = json.loads((path / "config.json").read_bytes())
        recorded = config.get("variant") if isinstance(config, dict) else None
    except ValueError:
        recorded = None  # transformers tells what is wrong with it
    if not isinstance(recorded, str) or not recorded:
        if asked:
            log.warning("model.variant %s is not used: %s holds one model, in transformers format", asked, path)
        return ""
    if asked and asked != recorded:
        raise ConfigError(
            f"{path} was converted from variant {recorded}, not {asked}; name that one in model.variant, or none"
        )
    return recorded


def _from_transformers(
    checkpoint: Checkpoint, device: str, dtype: torch.dtype | None, trust_remote_code: bool
) -> tuple[Any, Any, list[Path]]:
    from transformers import AutoModelForCausalLM

    import wmtp.models.mtp_llama  # noqa: F401  (registers the class with transformers' Auto classes)

    path = checkpoint.folder
    if trunk := checkpoint.trunk_type():
        _register(next(iter(model_types(checkpoint.config))), trunk)
    check_config(path, trust_remote_code=trust_remote_code)
    weights = weight_files(path)
    if not weights:
        raise ResourceError(f"{path} has a config.json but no weights: no *.safetensors and no pytorch_model*.bin")
    kind = "model.safetensors" if weights[0].suffix == ".safetensors" else "pytorch_model.bin"
    if not any((path / name).is_file() for name in (kind, f"{kind}.index.json")):
        raise ResourceError(
            f"{path} has {', '.join(file.name for file in weights[:3])}, but neither {kind} nor {kind}.index.json, which says "
            "what is in each file. Fetch it as well"
        )
    for file in weights:
        with file.open("rb"):  # transformers would call a file that may not be read missing
            pass
    if weights[0].suffix == ".bin":
        check_pickles(weights)
    try:
        with _quiet(), checkpoint.loadable() as folder:
            model, report = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=dtype or "auto",
                device_map=device,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                trust_remote_code=trust_remote_code,
            )
    except pickle.UnpicklingError:
        # Never in torch's words: they tell how to load the file without that restriction.
        raise ResourceError(
            f"{', '.join(file.name for file in weights)} in {path} holds Python objects, or is damaged: refused, because "
            "loading those may run any program. Have it written as safetensors where it was made"
        ) from None
    except Exception as error:  # transformers and safetensors raise what they like for a damaged folder
        raise ResourceError(f"the model in {path} cannot be loaded: {type(error).__name__}: {error}") from error
    _check(checkpoint, report, set(model.state_dict()))
    if not method_of(checkpoint.config):
        check_unscaled(checkpoint, report.get("unexpected_keys") or (), model)
    return model.eval(), _own_tokenizer(path, model, trust_remote_code), weights


def _own_tokenizer(path: Path, model: Any, trust_remote_code: bool) -> Any:
    """The folder's tokenizer; where it has ids that the model has no rows for, that is told."""
    tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= model.get_input_embeddings().weight.shape[0]:
        # A [PAD] that was added for training, infilling tokens of a class: nothing, as long as no prompt holds them.
        log.warning(
            "%s: the tokenizer has token ids up to %d, and the model embeddings for ids up to %d only; a prompt that holds "
            "one of the others is refused",
            path, largest, model.get_input_embeddings().weight.shape[0] - 1,
        )  # fmt: skip
    return tokenizer


@contextmanager
def _quiet() -> Iterator[None]:
    """No report of transformers' own, which `_check` reads; its progress bar only on a terminal."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _register(name: str, trunk: str) -> None:
    """Makes transformers run a ``model_type`` that it does not know with the classes of one that it does."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if name in CONFIG_MAPPING:
        return
    known = CONFIG_MAPPING[trunk]
    model = AutoModelForCausalLM._model_mapping[known]
    config = type(
        f"{known.__name__}Of_{name}", (known,), {"model_type": name, "runs_as": trunk}
    )  # names are keys in transformers
    AutoConfig.register(name, config)
    AutoModelForCausalLM.register(config, type(model.__name__, (model,), {"config_class": config}))


def _check(checkpoint: Checkpoint, report: Mapping[str, Any], known: set[str]) -> None:
    """Raises ResourceError where weights and config.json part: transformers makes up what is missing and drops the rest.

    Tensors of multi-token-prediction modules are no fault: they are read apart from the trunk. Tensors that are like none of
    the model's (buffers of older versions, a value head) are dropped with a warning. Those that are like some of them, in a
    layer that config.json does not count, are what the model was trained with.
    """
    unexpected = sorted(name for name in report.get("unexpected_keys") or () if not checkpoint.is_module(name))
    alike = {_NUMBER.sub("#", name) for name in known}
    foreign = {_layer(name) for name in unexpected if _NUMBER.sub("#", name) not in alike}
    dropped = [name for name in unexpected if _layer(name) in foreign]
    if dropped:
        named = ", ".join(dropped[:4]) + (f" and {len(dropped) - 4} more" if len(dropped) > 4 else "")
        log.warning("%s: the weights have tensors that this model does not use: %s", checkpoint.folder, named)
    report = {**report, "unexpected_keys": [name for name in unexpected if name not in dropped]}
    for kind, meaning in (
        ("missing_keys", "config.json asks for tensors that the weights lack"),
        ("unexpected_keys", "the weights have tensors that config.json has no place for"),
        ("mismatched_keys", "tensors have other shapes than config.json says"),
    ):
        found = sorted(" ".join(map(str, key)) if isinstance(key, tuple) else key for key in report.get(kind) or ())
        if found:
            named = ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
            raise ResourceError(f"{checkpoint.folder}: {meaning}: {named}. They belong to different models.")


def _layer(name: str) -> str:
    """The layer that a tensor belongs to, by the first number in its name; the whole name where there is none."""
    number = _NUMBER.search(name)
    return name[: number.end()] if number else name

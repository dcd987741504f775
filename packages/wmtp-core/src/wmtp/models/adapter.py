"""Adapters of peft (LoRA and its kin): a folder that holds what was trained, and names the model that it was trained on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

from wmtp.errors import ConfigError, PluginError, ResourceError

log = logging.getLogger("wmtp.models")
CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_MATRICES = ("embed_tokens.weight", "wte.weight", "lm_head.weight", "embed_out.weight", "embed_in.weight")

FindBase = Callable[[str, str | None], Path]
"""Name and revision of a model → its folder on this machine. Raises ResourceError where it is not to be had."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own. One that only describes an adapter beside a model does not."""
    if not (folder / CONFIG).is_file():
        return False
    return any((folder / name).is_file() for name in WEIGHTS) or not (folder / "config.json").is_file()


@attrs.frozen
class Adapter:
    """What adapter_config.json says.

    Attributes:
        folder: where it lies.
        kind: peft's name of its kind: ``LORA``.
        base: the model that it was trained on, as it was named there: a folder, or a hub id.
        revision: of that model; ``None``: whichever is the newest.
    """

    folder: Path
    kind: str
    base: str
    revision: str | None = None

    @classmethod
    def look(cls, folder: Path) -> Adapter:
        """Reads adapter_config.json, which is all that has to be here.

        Raises:
            ResourceError: it cannot be read, names no model, or is of a kind that does not become part of a model.
            PluginError: peft is not installed.
        """
        path = folder / CONFIG
        try:
            raw = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ResourceError(f"{path} cannot be read: {error}") from None
        base, kind = (
            (raw.get(key) for key in ("base_model_name_or_path", "peft_type")) if isinstance(raw, dict) else (0, 0)
        )
        if not isinstance(base, str) or not base:
            raise ResourceError(
                f"{path} names no model that the adapter belongs to; write its folder or hub id there (base_model_name_or_path)"
            )
        if find_spec("peft") is None:
            raise PluginError(
                f'{folder} is an adapter, and reading one needs peft: pip install "wmtp-core[torch,adapters]"'
            )
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

        if kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
            raise ResourceError(f"{path}: the installed peft knows no adapters of the kind {kind!r} (peft_type)")
        if not hasattr(PEFT_TYPE_TO_TUNER_MAPPING.get(kind), "merge_and_unload"):
            raise ResourceError(
                f"{path}: an adapter of the kind {kind} stands beside a model and not in it, and is not decoded; adapters "
                "like LoRA are"
            )
        beside = folder / base
        named = str(beside) if not Path(base).is_absolute() and not Path(base).is_dir() and beside.is_dir() else base
        revision = raw.get("revision")
        return cls(folder, str(kind), named, revision if isinstance(revision, str) and revision else None)

    def weights(self) -> Path:
        """The file that holds what was trained.

        Raises:
            ResourceError: there is none.
            ConfigError: a whole model lies beside it, so that nobody can say which of the two is meant.
        """
        found = next((self.folder / name for name in WEIGHTS if (self.folder / name).is_file()), None)
        if found is None:
            raise ResourceError(f"{self.folder} has an {CONFIG} but no weights: none of {', '.join(WEIGHTS)}")
        whole = [*self.folder.glob("model*.safetensors"), *self.folder.glob("pytorch_model*.bin")]
        if (self.folder / "config.json").is_file() and whole:
            raise ConfigError(
                f"{self.folder} holds a whole model ({whole[0].name}) and an adapter ({found.name}); put the one that is to be "
                "run into a folder of its own"
            )
        return found

    def find(self, find_base: FindBase) -> Path:
        """The model that it belongs to, on this machine. Raises ResourceError, saying where it was looked for."""
        try:
            return find_base(self.base, self.revision)
        except ResourceError as error:
            if not error.attempts:  # it is here, and is no model that can be run
                raise
            raise ResourceError(
                f"{self.folder} is an adapter of the model {self.base!r}, which is not to be had",
                error.attempts,
                f"Write where that model is into {self.folder / CONFIG} (base_model_name_or_path), or name a copy of it in "
                f"paths.models.base_local: {{id: {self.base}, path: …}}.",
            ) from error

    def put_into(self, model: Any, *, merged: bool) -> Any:
        """The model with the adapter in it.

        Args:
            model: of transformers, that it was trained on. It is changed.
            merged: whether its matrices are added to the model's, so that it costs nothing when it is run.

        Raises:
            ResourceError: the adapter does not fit the model, or is damaged.
        """
        from peft import PeftConfig, PeftModel

        self._make_room(model)
        try:
            config = PeftConfig.from_pretrained(str(self.folder))
            config.inference_mode = True
            wrapped = PeftModel(model, config, autocast_adapter_dtype=False)
            told = wrapped.load_adapter(str(self.folder), "default", autocast_adapter_dtype=False)
        except Exception as error:  # peft, safetensors and torch raise what they like for an adapter that does not fit
            raise self._unfit(f"{type(error).__name__}: {' '.join(str(error).split())[:400]}") from error
        # peft writes embeddings that were trained whole under several names, and reads one of them.
        strange = [
            name for name in told.unexpected_keys if ".modules_to_save." not in name and ".original_module." not in name
        ]
        for names, meaning in ((told.missing_keys, "it lacks"), (strange, "the model has no place for")):
            if names:
                raise self._unfit(f"{meaning} {', '.join(sorted(names)[:3])}")
        if not merged:
            return wrapped.get_base_model().eval()
        try:
            return wrapped.merge_and_unload(safe_merge=True).eval()
        except ValueError as error:  # values that are not finite
            raise self._unfit(str(error)) from error

    def _unfit(self, why: str) -> ResourceError:
        return ResourceError(f"the adapter in {self.folder} cannot be put into {self.base}: {why}")

    def _make_room(self, model: Any) -> None:
        """As many rows as the adapter's own embedding has, where tokens were added when it was trained."""
        from safetensors import SafetensorError, safe_open

        file = self.weights()
        if file.suffix != ".safetensors":
            return
        try:
            with safe_open(str(file), framework="pt") as opened:
                names = [name for name in opened.keys() if name.endswith(_MATRICES)]  # noqa: SIM118
                rows = {opened.get_slice(name).get_shape()[0] for name in names if "lora_" not in name}
        except SafetensorError as error:
            raise ResourceError(
                f"{file} cannot be loaded: it is cut off or damaged ({error}); fetch it again"
            ) from None
        if len(rows) == 1 and (most := rows.pop()) != model.get_input_embeddings().weight.shape[0]:
            model.resize_token_embeddings(most)

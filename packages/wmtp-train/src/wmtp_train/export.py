"""From a checkpoint to a folder in transformers format, heads kept: what ``wmtp eval``, and everybody else, can open."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import wmtp
from wmtp_train import schedule, sequential, state
from wmtp_train.folder import (
    EXPORTED,
    Checkpoint,
    TrainingFolder,
    faults_of,
    read_json,
    write_json,
    write_text,
    written,
)
from wmtp_train.lora import add_adapters, merge_adapters
from wmtp_train.plan import TrainingRequest
from wmtp_train.processes import Processes
from wmtp_train.settings import sections_of


def export(request: TrainingRequest, checkpoint: Checkpoint, *, destination: Path | None = None) -> Path:
    """Writes a checkpoint in transformers format, whole or not at all; one that is there already is left.

    The running mean of the weights is exported where the recipe has one; adapters are merged.

    Args:
        request: The training. checkpoint: One of its checkpoints.
        destination: Where to; by default ``train/export/step-…`` in the run folder.

    Returns:
        The folder.

    Raises:
        ConfigError: The checkpoint is damaged, or something else is in the way.
        WmtpError: It cannot be written.
    """
    folder = TrainingFolder(request.folder)
    place = destination or folder.export(checkpoint.step)
    mark = f"{checkpoint.state['key']} step {checkpoint.step}\n"
    if (place / EXPORTED).is_file():
        if (found := (place / EXPORTED).read_text(encoding="utf-8", errors="replace")) != mark:
            raise wmtp.ConfigError(
                f"{place} is the export of another checkpoint ({found.strip()}); choose another folder"
            )
        return place
    if place.exists():
        raise wmtp.ConfigError(f"{place} is in the way: it is no finished export; choose another folder, or remove it")
    if wrong := faults_of(checkpoint):
        raise wmtp.ConfigError(f"checkpoint {checkpoint.path} is damaged: {wrong[0]}; export another one (--step)")
    train = sections_of(request.recipe).train
    loaded = wmtp.create_model_loader(request.config, request.recipe, plugins=request.plugins).load_model(
        device="cpu", dtype=_dtype(folder)
    )
    model = loaded.model
    sequential.prepare(loaded)
    heads = schedule.check_heads(train.heads, model.head_count())
    sequential.choose_trained(model, heads, freeze_trunk=train.heads.freeze_trunk)
    if train.lora is not None:
        add_adapters(model, train.lora)
    ema = state.Ema(model, train.ema) if train.ema is not None else None
    state.load(checkpoint, state.contents(model, None, ema), Processes())
    if ema is not None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in ema.means:
                    parameter.copy_(ema.means[name])
    if train.lora is not None:
        merge_adapters(model)
    with written("the export", place):
        _write(loaded, request.plugins, place, mark)
    return place


def _dtype(folder: TrainingFolder) -> str:
    return str(read_json(folder.plan)["identity"]["dtype"])


def _write(loaded: wmtp.LoadedModel, plugins: wmtp.Plugins, place: Path, mark: str) -> None:
    model = loaded.model
    modules, named = sequential.detached(model), model.config.architectures
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".partial-{place.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.save_pretrained(partial, state_dict=state.full_state(model))
        loaded.tokenizer.save_pretrained(partial)
        if modules is not None:
            wmtp.save_modules(modules, partial)
        elif loaded.folder is not None and (loaded.folder / "config.json").is_file():
            wmtp.copy_modules(loaded.folder, partial, [one.spec for one in plugins.architectures.values()])
        if hasattr(type(model.config), "runs_as") and named:  # the class that runs here is a stand-in of ours
            config = read_json(partial / "config.json")
            write_json(partial / "config.json", {**config, "architectures": named})
        write_text(partial / EXPORTED, mark)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

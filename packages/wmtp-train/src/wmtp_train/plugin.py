"""The hook implementations of wmtp-train: sections, the trainer, controls, commands, and the data set ``jsonl``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import wmtp
from wmtp_train.critic_settings import CriticConfig
from wmtp_train.settings import CheckpointConfig, DataConfig, OptimConfig, ReferenceConfig, TrainConfig


@wmtp.hookimpl
def wmtp_sections() -> list[wmtp.SectionSpec]:
    return [
        wmtp.SectionSpec(name="train", summary="what is learned, and for how long", settings=TrainConfig),
        wmtp.SectionSpec(name="optim", summary="the optimiser and its schedule", settings=OptimConfig),
        wmtp.SectionSpec(name="data", summary="what is trained on", settings=DataConfig),
        wmtp.SectionSpec(
            name="reference", summary="what `wmtp run` trains first, for scorers to look at", settings=ReferenceConfig
        ),
        wmtp.SectionSpec(name="critic", summary="how a value model is made from judged samples", settings=CriticConfig),
        wmtp.SectionSpec(name="checkpoint", summary="when state is saved, and what is kept", settings=CheckpointConfig),
    ]


@wmtp.hookimpl
def wmtp_trainers() -> list[wmtp.TrainerSpec]:
    return [
        wmtp.TrainerSpec(
            name="mtp-v1", summary="every head at once, with token weights; one process, or FSDP2", train=_train
        )
    ]


def _train(request: Any) -> Any:
    from wmtp_train.trainer import train

    return train(request)


@wmtp.hookimpl
def wmtp_controls() -> list[wmtp.ControlSpec]:
    return [
        wmtp.ControlSpec(
            name="random-matched",
            summary="weights drawn from those of the whole micro-batch, whatever the tokens are",
            create=_control("random_matched"),
        ),
        wmtp.ControlSpec(
            name="inverted",
            summary="what the scorer lifts is lowered, and the other way round",
            create=_control("inverted"),
        ),
        wmtp.ControlSpec(
            name="position",
            summary="the mean weight of each place in an answer, content left out",
            create=_control("Position"),
        ),
    ]


def _control(name: str) -> Callable[[Any], Any]:
    """The control of that name in `wmtp_train.controls`, imported when it is called: it brings torch."""

    def create(settings: Any) -> Any:
        from wmtp_train import controls

        found = getattr(controls, name)
        return found() if isinstance(found, type) else found

    return create


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [
        wmtp.DatasetSpec(
            name="jsonl", summary="a file of prompt and answer, or of text, to train on", load=_read, examples=_examples
        )
    ]


def _read(request: wmtp.DatasetRequest) -> Iterable[Mapping[str, Any]]:
    from wmtp_train.jsonl import read

    return read(request)


def _examples(row: Mapping[str, Any]) -> Iterable[wmtp.Example]:
    from wmtp_train.jsonl import examples

    return examples(row)


@wmtp.hookimpl
def wmtp_commands() -> list[wmtp.CommandSpec]:
    return [
        wmtp.CommandSpec(
            name="train",
            summary="Train a model with token weights.",
            target="wmtp_train.cli:train_command",
            resumable=True,
        ),
        wmtp.CommandSpec(
            name="critic",
            summary="Make a critic from judged samples, for train.critic.",
            target="wmtp_train.cli_critic:command",
            resumable=True,
        ),
        wmtp.CommandSpec(
            name="run",
            summary="Train, evaluate every checkpoint, compare, report.",
            target="wmtp_train.cli_run:command",
            resumable=True,
        ),
        wmtp.CommandSpec(
            name="checkpoints",
            summary="List, export and verify a training's checkpoints.",
            target="wmtp_train.cli_checkpoints:command",
        ),
    ]

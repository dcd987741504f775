"""Core's own plugin: what comes with core of every kind, its sections and commands included.

It is registered like anyone else's; only its name is known to the plugin manager. Factories import what they need when
they are called, so that listing plugins stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wmtp._commands import COMMANDS
from wmtp.config.config import DevicesConfig, JudgingConfig, PathsConfig, StorageConfig
from wmtp.config.recipe import EvalConfig, ModelConfig, RunConfig
from wmtp.contracts.loading import LoadRequest
from wmtp.contracts.specs import (
    ArchitectureSpec,
    CommandSpec,
    ControlSpec,
    EvaluatorSpec,
    JudgeSpec,
    LoaderSpec,
    ReporterSpec,
    ScorerSpec,
    SectionSpec,
    StorageSpec,
)
from wmtp.models.formats import is_meta, is_transformers
from wmtp.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from wmtp.contracts.engines import Engine
    from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask
    from wmtp.contracts.judging import Judge, JudgeRequest
    from wmtp.contracts.storage import Storage
    from wmtp.models import LoadedModel


@hookimpl
def wmtp_storages() -> list[StorageSpec]:
    return [
        StorageSpec(
            mode="local", summary="folders of this machine", schemes=("file",), open=_open_local, open_url=_open_file
        )
    ]


def _open_local(settings: Any) -> Storage:
    from wmtp.storage.local import open_local

    return open_local(settings)


def _open_file(url: str, settings: Any) -> tuple[Storage, str]:
    from wmtp.storage.local import open_file

    return open_file(url)


@hookimpl
def wmtp_loaders() -> list[LoaderSpec]:
    return [
        LoaderSpec(
            name="transformers",
            summary="folders and hub ids in transformers format",
            matches=is_transformers,
            load=_load_transformers,
            fetches=True,
            load_model=_transformers_model,
            on_devices=True,
        ),
        LoaderSpec(
            name="meta-mtp",
            summary="Meta's multi-token-prediction checkpoints",
            matches=is_meta,
            load=_load_meta_mtp,
            fetches=True,
            load_model=_meta_mtp_model,
            on_devices=True,
        ),
        LoaderSpec(
            name="reference",
            summary="replays each problem's reference solution",
            matches=_is_reference,
            load=_load_reference,
        ),
        LoaderSpec(
            name="samples",
            summary="replays stored completions: samples:FILE.jsonl",
            matches=_is_samples,
            load=_load_samples,
            replays=True,
            local_path=_samples_file,
            absolute=_absolute_samples,
        ),
    ]


def _is_reference(reference: str) -> bool:
    return reference == "reference:"


_SAMPLES = "samples:"


def _is_samples(reference: str) -> bool:
    return reference.startswith(_SAMPLES)


def _samples_file(reference: str) -> Path:
    return Path(reference.removeprefix(_SAMPLES))


def _absolute_samples(reference: str, folder: Path) -> str:
    return f"{_SAMPLES}{Path(folder, _samples_file(reference).expanduser())}"


def _load_reference(request: LoadRequest) -> Engine:
    from wmtp.generation.replay import ReferenceEngine

    return ReferenceEngine()


def _load_samples(request: LoadRequest) -> Engine:
    from wmtp.generation.replay import SamplesEngine

    return SamplesEngine(_samples_file(request.reference))


def _load_transformers(request: LoadRequest) -> Engine:
    return _decoding_engine(request, _transformers_model(request))


def _transformers_model(request: LoadRequest) -> LoadedModel:
    from wmtp.models.fetched import transformers_model

    return transformers_model(request)


def _load_meta_mtp(request: LoadRequest) -> Engine:
    return _decoding_engine(request, _meta_mtp_model(request))


def _meta_mtp_model(request: LoadRequest) -> LoadedModel:
    from wmtp.models.fetched import meta_model

    return meta_model(request)


def _decoding_engine(request: LoadRequest, loaded: LoadedModel) -> Engine:
    from wmtp.generation.engine import DecodingEngine
    from wmtp.generation.threads import chosen_threads

    named = {"id": request.reference, "revision": loaded.version, "variant": loaded.variant}
    if heads := str(loaded.heads):
        named["heads"] = heads
    return DecodingEngine(
        loaded.model,
        loaded.tokenizer,
        identity=loaded.identity,
        origin=named,
        n_heads=request.n_heads,
        speculative=request.speculative,
        batch_size=request.batch_size,
        threads=chosen_threads(loaded.model, request.threads),
        stored=loaded.stored_modules,
        heads=loaded.heads,
    )


@hookimpl
def wmtp_architectures() -> tuple[ArchitectureSpec, ...]:
    from wmtp.models.architectures.families import FAMILIES

    return FAMILIES


@hookimpl
def wmtp_evaluators() -> list[EvaluatorSpec]:
    return [EvaluatorSpec(id="meta-mtp-evaluator", summary="calls each metric's owner in turn", protocol="meta-mtp")]


@hookimpl
def wmtp_evaluate(task: EvaluationTask) -> EvaluationResult | None:
    if task.evaluator != "meta-mtp-evaluator":
        return None
    from wmtp.evaluation.meta_mtp import MetaMtpEvaluator

    return MetaMtpEvaluator().evaluate(task)


@hookimpl
def wmtp_judges() -> list[JudgeSpec]:
    return [JudgeSpec(name="local", summary="the sandbox, on the machine that the run is on", open=_open_local_judge)]


def _open_local_judge(request: JudgeRequest) -> Judge:
    from wmtp.judging.ahead import opened

    return opened(**attrs.asdict(request, recurse=False, filter=lambda field, _: field.name != "settings"))


@hookimpl
def wmtp_scorers() -> list[ScorerSpec]:
    from wmtp.weighting import settings

    return [
        ScorerSpec(
            name="critic-delta-v1",
            summary="weights from the change of a critic's value",
            create=_scorer("create_critic_delta"),
            settings=settings.CriticDeltaSettings,
            needs=("values",),
        ),
        ScorerSpec(
            name="rho1-excess-v1",
            summary="weights from the loss in excess of a reference model's",
            create=_scorer("create_rho1_excess"),
            settings=settings.Rho1Settings,
            needs=("base_ce", "reference_ce"),
        ),
        ScorerSpec(
            name="taw-gae-v1",
            summary="weights from the advantage that a frozen critic sees in each token",
            create=_scorer("create_taw_gae"),
            settings=settings.TawGaeSettings,
            needs=("values",),
        ),
        ScorerSpec(
            name="dft-v1",
            summary="a token weighs what the model already gives it",
            create=_scorer("create_dft"),
            settings=settings.DftSettings,
            needs=("base_ce",),
        ),
        ScorerSpec(
            name="given-v1",
            summary="weights that come with the data",
            create=_scorer("create_given"),
            settings=settings.GivenSettings,
            needs=("given",),
        ),
    ]


def _scorer(name: str) -> Callable[[Any], Callable[..., Any]]:
    """The factory of that name in `wmtp.weighting`, imported when it is called: it brings torch."""

    def create(settings: Any) -> Callable[..., Any]:
        from wmtp import weighting

        made: Callable[..., Any] = getattr(weighting, name)(settings)
        return made

    return create


@hookimpl
def wmtp_controls() -> list[ControlSpec]:
    return [
        ControlSpec(name="uniform", summary="every token weighs the same", create=_create_uniform),
        ControlSpec(
            name="shuffled", summary="each row's weights, dealt to other tokens of it", create=_create_shuffled
        ),
    ]


def _create_uniform(settings: Any) -> Callable[..., Any]:
    from wmtp.weighting.controls import uniform

    return uniform


def _create_shuffled(settings: Any) -> Callable[..., Any]:
    from wmtp.weighting.controls import shuffled

    return shuffled


@hookimpl
def wmtp_reporters() -> list[ReporterSpec]:
    return [
        ReporterSpec(name="markdown", summary="report.md, the run as text", write=_write_markdown),
        ReporterSpec(name="html", summary="report.html, one file that opens from disk", write=_write_html),
    ]


def _write_markdown(folder: Path, run: Any) -> Path:
    from wmtp.evaluation.report import write_report

    return write_report(folder, run)


def _write_html(folder: Path, run: Any) -> Path:
    from wmtp.reports.html import write_report

    return write_report([folder], ours=run)


@hookimpl
def wmtp_sections() -> list[SectionSpec]:
    recipe = (
        ("run", "the run's name and tags", RunConfig),
        ("model", "which model, and how it drafts", ModelConfig),
        ("eval", "metrics, sampling, and evaluators' options", EvalConfig),
    )
    config = (
        ("storage", "where models and data come from: a mode, and its section", StorageConfig),
        ("paths", "local copies, and the cache", PathsConfig),
        ("devices", "what models run on", DevicesConfig),
        ("judging", "the sandbox that programs are judged in", JudgingConfig),
    )
    return [
        *(SectionSpec(name=name, summary=text, settings=cls) for name, text, cls in recipe),
        *(SectionSpec(name=name, summary=text, settings=cls, file="config") for name, text, cls in config),
    ]


@hookimpl
def wmtp_commands() -> list[CommandSpec]:
    return [
        CommandSpec(name=name, target=target, summary=summary, resumable=resumable)
        for name, target, summary, resumable in COMMANDS
    ]

"""Everything that a training needs, found and checked before its first step, and what decides its result."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import torch

import wmtp
from wmtp.events import RunStarted
from wmtp.weighting import check_same_tokenizer
from wmtp_train import models, schedule, sequential
from wmtp_train.data import load_rows
from wmtp_train.lora import add_adapters
from wmtp_train.order import total_steps
from wmtp_train.presets import scorer_of
from wmtp_train.rows import Rows
from wmtp_train.settings import HeadsConfig, Sections, sections_of
from wmtp_train.weigh import Weigher

log = logging.getLogger("wmtp.train")
VERSION = "mtp-v1/2"
"""It rises when the same recipe would give other weights."""


@attrs.frozen(kw_only=True, eq=False)
class TrainingRequest:
    """What a trainer receives.

    Attributes:
        runs: Folder of run folders.
        device: Where this process trains.
        part_of: The training whose stage this one is; its numbers are told as that one's.
    """

    config: wmtp.Config
    recipe: wmtp.Recipe
    plugins: wmtp.Plugins
    runs: Path
    device: str = "cpu"
    part_of: TrainingRequest | None = None

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.runs / self.recipe.run.name

    def started(self) -> RunStarted:
        """The event that a session over this request begins with."""
        if self.part_of is not None:
            return self.part_of.started()
        return RunStarted(
            name=self.recipe.run.name,
            kind="training",
            folder=self.folder,
            config=wmtp.to_plain(self.config),
            recipe=wmtp.to_plain(self.recipe),
        )


@attrs.frozen(kw_only=True, eq=False)
class Plan:
    """A training that is ready to begin.

    Attributes:
        identity: What decides the result, by name.
        heads: How many are trained. steps: of the whole training. end: rows that it takes in all, ``None`` for as many as
            its steps want.
        measures: What a scorer needs and somebody other than the model in training gives: name → (batch → [rows, width]).
    """

    sections: Sections
    seed: int
    model: Any
    tokenizer: Any
    rows: Rows
    eval_rows: Rows | None
    weigher: Weigher
    needs: tuple[str, ...]
    measures: dict[str, Callable[[Any], torch.Tensor]]
    heads: int
    steps: int
    end: int | None
    identity: dict[str, Any]

    @property
    def key(self) -> str:
        """A fingerprint of what decides the result."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]


def seed_of(config: wmtp.Config, sections: Sections) -> int:
    """The seed of data order and dropout."""
    return config.seed if sections.train.seed is None else sections.train.seed


def make_plan(request: TrainingRequest, *, world: int = 1) -> Plan:
    """Finds and checks everything. Raises `WmtpError` for what the user can mend."""
    config, plugins = request.config, request.plugins
    sections = sections_of(request.recipe)
    train = sections.train
    check_processes(world, sections)
    _check_upload(sections, config, plugins)
    _check_wishes(sections)
    seed = seed_of(config, sections)
    torch.manual_seed(seed)
    loaded = wmtp.create_model_loader(config, request.recipe, plugins=plugins).load_model(
        device=request.device, dtype=_dtype(config)
    )
    heads = _heads(loaded, train.heads)
    rows = load_rows(sections.data.train, loaded.tokenizer, config, plugins)
    eval_rows = load_rows(sections.data.eval, loaded.tokenizer, config, plugins) if sections.data.eval else None
    for part, made in ((sections.data.train, rows), (sections.data.eval, eval_rows)):
        if part is None or made is None:
            continue
        if part.pack_sequences:
            models.check_packing(loaded.model, part.max_length)
        models.check_context(loaded.model, made)
        _check_vocabulary(made, loaded)
    steps = total_steps(len(rows), train.batch_size, train.num_epochs, train.max_steps)
    schedule.check_schedule(sections.optim, steps)
    schedule.check_curriculum(train.heads, steps)
    scorer = scorer_of(sections, plugins)
    if "given" in scorer.needs:
        _check_given(rows)
    measures, others = _measures(request, sections, scorer.needs, loaded.tokenizer)
    decides = {
        "steps": steps,
        "data": rows.digest(),
        "validation": eval_rows.digest() if eval_rows is not None and train.early_stopping else "",
        "scorer": scorer.described,
        **others,
    }
    if train.lora is not None:
        torch.manual_seed(seed)
        add_adapters(loaded.model, train.lora)
    return Plan(
        sections=sections,
        seed=seed,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        rows=rows,
        eval_rows=eval_rows,
        weigher=Weigher(scorer.scorer, scorer.control, prompt_weight=sections.data.train.prompt_weight, seed=seed),
        needs=scorer.needs,
        measures=measures,
        heads=heads,
        steps=steps,
        end=None if train.max_steps is not None else len(rows) * train.num_epochs,
        identity={**_identity(loaded, sections, seed), **decides},
    )


def _heads(loaded: wmtp.LoadedModel, wished: HeadsConfig) -> int:
    """How many heads are trained. What else is stored is said, and exported as it is."""
    why = sequential.prepare(loaded)
    heads = schedule.check_heads(wished, loaded.model.head_count(), why)
    if why and wished.count is None:
        log.warning("the model's further heads are not trained, and are exported as they are: %s", why)
    sequential.choose_trained(loaded.model, heads, freeze_trunk=wished.freeze_trunk)
    return heads


def _identity(loaded: wmtp.LoadedModel, sections: Sections, seed: int) -> dict[str, Any]:
    """What decides the result of the model and of the recipe."""
    train = sections.train
    return {
        "version": VERSION,
        "weights": loaded.identity["weights_sha256"],
        "configuration": loaded.identity["config_sha256"],
        "dtype": loaded.identity["dtype"],
        "seed": seed,
        "train": _plain(
            attrs.evolve(
                train,
                log_every=1,
                eval_every=train.eval_every if train.early_stopping else None,
                reference=None,  # what other models are counts, and not where they lie
                critic=None,
            )
        ),
        "optim": _plain(sections.optim),
    }


def check_processes(world: int, sections: Sections) -> None:
    """Raises ConfigError where some would have no row of a step."""
    if world > sections.train.batch_size:
        raise wmtp.ConfigError(
            f"{world} processes would share the {sections.train.batch_size} rows of a step, so some would have none; raise "
            "train.batch_size or start fewer"
        )


def _check_upload(sections: Sections, config: wmtp.Config, plugins: wmtp.Plugins) -> None:
    to = sections.checkpoint.upload
    if to is None:
        return
    scheme, url, _ = to.partition("://")
    if url and scheme not in plugins.schemes:
        raise wmtp.ConfigError(f"checkpoint.upload: {plugins.missing('URL scheme', scheme, plugins.schemes)}")
    if url and not to.partition("://")[2].strip("/"):
        raise wmtp.ConfigError(f"checkpoint.upload: {to!r} names no place; give one, such as {scheme}://bucket/prefix")
    if not url and config.storage.mode == "local":
        raise wmtp.ConfigError(
            f"checkpoint.upload: {to!r} is a key of the configured storage, and storage.mode is local; give a URL, such as "
            "s3://bucket/prefix"
        )


def _dtype(config: wmtp.Config) -> str:
    """Weights are trained in float32 unless config says otherwise. Raises ConfigError for what cannot be trained in."""
    if config.devices.dtype == "float16":
        raise wmtp.ConfigError(
            "devices.dtype: gradients vanish in float16 without scaling of the loss, which is not done here; train in "
            "float32 or bfloat16"
        )
    return "float32" if config.devices.dtype == "auto" else config.devices.dtype


def _check_wishes(sections: Sections) -> None:
    train = sections.train
    if (train.early_stopping or sections.checkpoint.keep_best) and sections.data.eval is None:
        raise wmtp.ConfigError(
            "early stopping and keep_best look at a validation loss, and there is no section data.eval"
        )
    if (train.early_stopping or sections.checkpoint.keep_best) and train.eval_every is None:
        raise wmtp.ConfigError("early stopping and keep_best need train.eval_every: how often to look")
    if train.eval_every and sections.data.eval is None:
        raise wmtp.ConfigError(
            "train.eval_every says how often to look at a validation loss: there is no section data.eval"
        )
    if train.control is not None and train.scorer is None and train.algo in ("baseline-mtp", "mtp-baseline"):
        raise wmtp.ConfigError(
            f"control {train.control.name} stands in for a scorer's weights, and algo {train.algo} has no scorer; name one in "
            "train.scorer"
        )


def _check_given(rows: Rows) -> None:
    if not rows.has_given:
        raise wmtp.ConfigError("scorer given-v1 weighs by the data's own weights, and no example has any")
    for one in rows.documents:
        if one.given is not None and not any(one.given[one.first_trained :]):
            raise wmtp.ConfigError(
                f"example {one.id}: the weights of its answer are all 0, so nothing of it is trained; leave it out"
            )


def _check_vocabulary(rows: Rows, loaded: wmtp.LoadedModel) -> None:
    largest = max(max(one.ids) for one in rows.documents)
    known = int(loaded.model.get_input_embeddings().weight.shape[0])
    if largest >= known:
        raise wmtp.ConfigError(
            f"the tokenizer gives ids up to {largest} and the model has {known} embeddings: they belong to different models"
        )


def _measures(
    request: TrainingRequest, sections: Sections, needs: tuple[str, ...], tokenizer: Any
) -> tuple[dict[str, Callable[[Any], torch.Tensor]], dict[str, str]]:
    """What other models give, and which models they are."""
    measures: dict[str, Callable[[Any], torch.Tensor]] = {}
    identity = {}
    if "reference_ce" in needs:
        reference = _reference(request, sections)
        try:
            check_same_tokenizer(tokenizer, reference.tokenizer)
        except ValueError as error:
            raise wmtp.ConfigError(f"the reference model cannot be used: {error}") from None
        identity["reference"] = reference.identity["weights_sha256"]
        measures["reference_ce"] = _frozen_ce(reference.model)
    if "values" in needs:
        from wmtp_train.critics import load_critic

        measures["values"], identity["critic"] = load_critic(
            _critic(request, sections), device=request.device, tokenizer=tokenizer
        )
    known = {"base_ce", "reference_ce", "values", "given"}
    if unknown := sorted(set(needs) - known):
        raise wmtp.ConfigError(f"the scorer needs {', '.join(unknown)}, which trainer mtp-v1 cannot give")
    return measures, identity


def _critic(request: TrainingRequest, sections: Sections) -> Path:
    if sections.train.critic is not None:
        return Path(sections.train.critic)
    if "critic" in request.recipe.sections:
        return request.folder / "critic"
    raise wmtp.ConfigError(
        "this scorer needs the values of a critic: name its folder in train.critic, or give the recipe a section critic, of "
        "which `wmtp run` makes one"
    )


def _reference(request: TrainingRequest, sections: Sections) -> wmtp.LoadedModel:
    from wmtp_train.reference import STAGE, reference_export

    named = sections.train.reference
    if named is None and STAGE in request.recipe.sections:
        made = reference_export(request)
        if made is None:
            raise wmtp.ConfigError(
                "the recipe's reference is not trained yet: `wmtp run` does that first (as does `wmtp train --stage reference`)"
            )
        named = str(made.resolve())
    if named is None:
        loader = wmtp.create_model_loader(request.config, request.recipe, plugins=request.plugins, role="ref")
    else:
        model = attrs.evolve(request.recipe.model, base_id=named, variant=None, revision=None, loader=None)
        recipe = attrs.evolve(request.recipe, model=model)
        loader = wmtp.create_model_loader(request.config, recipe, plugins=request.plugins)
    return loader.load_model(device=request.device, dtype=_dtype(request.config))


def _frozen_ce(model: Any) -> Callable[[Any], torch.Tensor]:
    models.prepare(model)
    model.eval().requires_grad_(False)

    def reference_ce(batch: Any) -> torch.Tensor:
        with torch.no_grad():
            return models.token_ce(model, models.states_of(model, batch, 1)[0], batch)

    return reference_ce


def _plain(record: Any) -> Any:
    return json.loads(json.dumps(attrs.asdict(record), default=str))


def memory_gib(model: Any, world: int) -> float:
    """What weights, gradients and AdamW's two moments take in each process, in GiB."""
    total: int = sum(p.numel() * p.element_size() * (4 if p.requires_grad else 1) for p in model.parameters())
    return math.ceil(total / world) / 2**30

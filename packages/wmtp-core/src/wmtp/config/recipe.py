"""recipe.yaml: what to run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from wmtp.config.checks import run_name
from wmtp.contracts.engines import MOST, Sampling
from wmtp.contracts.evaluation import TooLong
from wmtp.contracts.validators import at_least
from wmtp.contracts.values import at_most
from wmtp.statistics.margin import check_margin

# Used only when the command line, the recipe, the environment (WMTP_MODEL_BASE, …_RM, …_REF) and the local paths are
# silent: those always win.
DEFAULT_MODEL_IDS: Mapping[str, str] = {
    "base": "facebook/multi-token-prediction",
    "ref": "princeton-nlp/Sheared-LLaMA-1.3B",
    "rm": "sfairXC/FsfairX-LLaMA3-RM-v0.1",
}
DEFAULT_VARIANT = "7B_1T_4"
"""The variant meant when the default base model is named without one."""


@attrs.frozen(kw_only=True)
class RunConfig:
    """``run``: what the run is called.

    Attributes:
        name: The name of its folder, below ``--runs``.
        tags: Words to find it by; trackers have them too.
    """

    name: str = attrs.field(default="run", validator=run_name)
    tags: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class MtpConfig:
    """``model.mtp``: whether the model's multi-token-prediction heads draft. No text differs.

    Attributes:
        n_heads: Heads to draft with, the next token's included; ``null`` is all that the checkpoint has.
        speculative: ``auto`` may give drafts up where they lose time, ``always`` does not, ``off`` makes none.
    """

    n_heads: int | None = attrs.field(default=None, validator=at_least(1))
    speculative: Literal["auto", "always", "off"] = "auto"


@attrs.frozen(kw_only=True)
class ModelConfig:
    """``model``: which one, and how it drafts.

    Attributes:
        base_id: A hub id, a folder, a URL, or what a loader knows (``reference:``, ``samples:FILE``). ``null`` leaves the
            choice to ``WMTP_MODEL_BASE`` and then to `DEFAULT_MODEL_IDS`.
        revision: Branch, tag or commit on the hub.
        variant: Which of several models in one folder: Meta's subfolders, GGUF files.
        loader: Chooses a loader by name where several know the reference.
        loaders: Options of loaders: a loader's name, and its settings.
        trust_remote_code: Lets Python files that come with the model run: its own classes, for types that transformers does
            not know.
        mtp: Whether its heads draft.
    """

    base_id: str | None = None
    revision: str | None = None
    variant: str | None = None
    loader: str | None = None
    loaders: Mapping[str, Any] = attrs.field(factory=dict)
    trust_remote_code: bool = False
    mtp: MtpConfig = MtpConfig()


@attrs.frozen(kw_only=True)
class DecideConfig:
    """``eval.decide``: when sampling against another run has found out.

    Attributes:
        difference: Of pass@1, that is to be found: 0.02 is two points.
    """

    difference: float = attrs.field(default=0.02)

    @difference.validator
    def _a_margin(self, attribute: attrs.Attribute[float], value: float) -> None:
        check_margin(value, share=True)


@attrs.frozen(kw_only=True)
class EvalConfig:
    """``eval``: what is measured, and how samples are drawn.

    Attributes:
        protocol: Who shares the metrics out among evaluators.
        sampling: How tokens are drawn.
        metrics: What is asked for; ``wmtp metrics`` lists what there is.
        batch_size: Completions side by side; ``auto`` plans by the memory that is free.
        limit: Problems, from the first; ``null`` is all.
        metric_prefix: Keeps metrics of two distributions apart that have one name: distribution, and a prefix for its.
        evaluators: Options of evaluators: an evaluator's id, and its settings. Those that the metrics need are always in it,
            with their defaults where the file says nothing.
        against: Folder of a finished run to beat: sampling stops once `decide` stands, at `sampling.n` at the latest.
        decide: When that stands.
        too_long: What is done where a prompt does not fit the model's context: ``error`` leaves its metrics without a value,
            ``fail`` counts its samples as failed, ``fewer-shots`` asks again with fewer solved examples, where there are some.
    """

    protocol: str = "meta-mtp"
    sampling: Sampling = attrs.field(factory=Sampling)
    metrics: tuple[str, ...] = ()
    batch_size: int | Literal["auto"] = attrs.field(default="auto", validator=[at_least(1), at_most(MOST)])
    limit: int | None = attrs.field(default=None, validator=at_least(1))
    metric_prefix: Mapping[str, str] = attrs.field(factory=dict)
    evaluators: Mapping[str, Any] = attrs.field(factory=dict)
    against: str | None = None
    decide: DecideConfig = DecideConfig()
    too_long: TooLong = "error"


@attrs.frozen(kw_only=True)
class Recipe:
    """All of recipe.yaml.

    Attributes:
        run: What the run is called.
        model: Which model, and how it drafts.
        eval: What is measured, and how samples are drawn.
        sections: Those that plugins own, by name, each an instance of its plugin's class.
    """

    run: RunConfig = RunConfig()
    model: ModelConfig = ModelConfig()
    eval: EvalConfig = EvalConfig()
    sections: Mapping[str, Any] = attrs.field(factory=dict)

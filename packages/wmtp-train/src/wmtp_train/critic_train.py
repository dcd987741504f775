"""Makes a critic: a value head, and the model under it, learn to rank programs that passed above those that failed."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.nn import functional

import wmtp
from wmtp.statistics.intervals import mean_interval
from wmtp.weighting import ValueHead
from wmtp_train import models
from wmtp_train.critic_pairs import Pair, read_pairs
from wmtp_train.critic_settings import CriticConfig
from wmtp_train.folder import described, faults_in, read_json, write_json, written
from wmtp_train.order import key, rows_of_step
from wmtp_train.rows import Batch, Rows
from wmtp_train.tokens import Document

log = logging.getLogger("wmtp.train")
VERSION = 1
RECORD, HEAD, MODEL = "critic.json", "head.pt", "model"


@attrs.frozen(kw_only=True)
class CriticResult:
    """A critic that was made.

    Attributes:
        folder: What ``train.critic`` names.
        pairs: Pairs that it learned from. held_out: pairs of other problems.
        accuracy: Share of a held-out problem's pairs that it ranks rightly, with its 95 % interval; ``None`` without any.
        new: Whether it was made by this call.
    """

    folder: Path
    pairs: int
    held_out: int
    accuracy: tuple[float, float, float] | None
    new: bool


def make_critic(loaded: wmtp.LoadedModel, settings: CriticConfig, folder: Path, *, seed: int) -> CriticResult:
    """Trains a critic in this process, or finds the one that is there.

    Args:
        loaded: The model that becomes the critic; its weights change unless ``trunk_lr`` is 0.
        settings: What it learns from, and how.
        folder: Where it goes, whole or not at all.
        seed: Of the order of pairs and of the head.

    Raises:
        ConfigError: There is nothing to learn from, or another critic is in the folder.
    """
    models.prepare(loaded.model)
    pairs = read_pairs(settings, loaded.tokenizer)
    identity = _identity(loaded, settings, pairs, seed)
    if (folder / RECORD).is_file():
        return _there(folder, identity)
    held = {pair.problem for pair in pairs if key("held", pair.problem) % 10_000 < settings.held_out * 10_000}
    learned = [pair for pair in pairs if pair.problem not in held]
    kept = [pair for pair in pairs if pair.problem in held]
    if not learned:
        raise wmtp.ConfigError(f"critic.held_out {settings.held_out} leaves no problem to learn from; lower it")
    torch.manual_seed(key("critic", seed))
    device = next(loaded.model.parameters()).device
    head = ValueHead(int(loaded.model.get_input_embeddings().weight.shape[1])).to(device)
    _learn(loaded.model, head, learned, settings, seed)
    record = {
        "identity": identity,
        "pairs": len(learned),
        "held_out": len(kept),
        "accuracy": _accuracy(loaded.model, head, kept, settings),
    }
    with written("the critic", folder):
        _save(loaded, head, record, folder)
    return _result(folder, record, new=True)


def _identity(loaded: wmtp.LoadedModel, settings: CriticConfig, pairs: Sequence[Pair], seed: int) -> dict[str, Any]:
    whole = hashlib.sha256()
    for pair in pairs:
        whole.update(f"{pair.problem}\0{pair.better.ids}\0{pair.worse.ids}\n".encode())
    return {
        "version": VERSION,
        "weights": loaded.identity["weights_sha256"],
        "pairs": whole.hexdigest(),
        "settings": {**attrs.asdict(settings), "run": ""},  # what the run holds counts, not where it is
        "seed": seed,
    }


def read_critic(folder: Path) -> dict[str, Any]:
    """A critic's record. Raises ConfigError where there is none, or where a file of the critic was changed since."""
    if not (folder / RECORD).is_file():
        raise wmtp.ConfigError(
            f"{folder} holds no critic (no {RECORD}); `wmtp critic CONFIG RECIPE` makes one from a recipe's section critic"
        )
    record = read_json(folder / RECORD)
    faults = [f"{folder / RECORD} is not what was written"]
    if record.pop("sha256", None) == _digest(record):
        faults = faults_in(folder, record["files"])
    if faults:
        raise wmtp.ConfigError(f"the critic is damaged: {faults[0]}. Remove {folder}, and make it anew")
    return record


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _there(folder: Path, identity: dict[str, Any]) -> CriticResult:
    record = read_critic(folder)
    if record["identity"] != identity:
        differ = sorted(name for name in identity if record["identity"].get(name) != identity[name])
        raise wmtp.ConfigError(
            f"{folder} holds a critic that was made differently ({', '.join(differ)}); use another run.name, or remove it"
        )
    return _result(folder, record, new=False)


def _result(folder: Path, record: dict[str, Any], *, new: bool) -> CriticResult:
    accuracy = None if record["accuracy"] is None else tuple(record["accuracy"])
    return CriticResult(folder=folder, pairs=record["pairs"], held_out=record["held_out"], accuracy=accuracy, new=new)


def _learn(model: Any, head: ValueHead, pairs: Sequence[Pair], settings: CriticConfig, seed: int) -> None:
    groups: list[dict[str, Any]] = [{"params": list(head.parameters()), "lr": settings.lr}]
    model.requires_grad_(settings.trunk_lr > 0)
    if settings.trunk_lr > 0:
        groups.append({"params": [p for p in model.parameters() if p.requires_grad], "lr": settings.trunk_lr})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    model.eval()  # no dropout: two texts of a pair are to be compared
    for step in range(settings.steps):
        chosen = rows_of_step(step, rows=len(pairs), batch_size=settings.batch_pairs, seed=seed, end=None)
        margins = _margins(model, head, [pairs[n] for n in chosen], settings)
        loss = -functional.logsigmoid(margins).mean()
        if not torch.isfinite(loss):
            raise wmtp.ConfigError(
                f"the critic's loss is {loss.item()} at step {step}; lower critic.lr and critic.trunk_lr"
            )
        torch.autograd.backward(loss)
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()


def _margins(model: Any, head: ValueHead, pairs: Sequence[Pair], settings: CriticConfig) -> Tensor:
    """How far each pair's better text is above its worse: the difference of their mean values over the answer's tokens."""
    documents = [text for pair in pairs for text in (pair.better, pair.worse)]
    batch = _batch(documents, settings.max_length, next(model.parameters()).device)
    values = head(models.states_of(model, batch, 1)[0].float())
    scores = (values * batch.answer).sum(1) / batch.answer.sum(1)
    margins: Tensor = scores[0::2] - scores[1::2]
    return margins


def _batch(documents: Sequence[Document], max_length: int, device: Any) -> Batch:
    rows = Rows(documents, max_length, several=False, prompt_weight=0.0)
    return rows.batch(range(len(documents)), device)


def _accuracy(
    model: Any, head: ValueHead, pairs: Sequence[Pair], settings: CriticConfig
) -> tuple[float, float, float] | None:
    """The mean over problems of the share of pairs that are ranked rightly, with its 95 % interval."""
    right: dict[str, list[float]] = {}
    with torch.no_grad():
        for start in range(0, len(pairs), settings.batch_pairs):
            part = pairs[start : start + settings.batch_pairs]
            for pair, margin in zip(part, _margins(model, head, part, settings).tolist(), strict=True):
                right.setdefault(pair.problem, []).append(float(margin > 0))
    if not right:
        return None
    shares = [sum(found) / len(found) for found in right.values()]
    found = mean_interval(shares, share=True)
    return sum(shares) / len(shares), found.low, found.high


def _save(loaded: wmtp.LoadedModel, head: ValueHead, record: dict[str, Any], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        loaded.model.save_pretrained(partial / MODEL)
        loaded.tokenizer.save_pretrained(partial / MODEL)
        torch.save({name: tensor.cpu() for name, tensor in head.state_dict().items()}, partial / HEAD)
        files = {str(one.relative_to(partial)): described(one) for one in sorted(partial.rglob("*")) if one.is_file()}
        record = {**record, "files": files}
        write_json(partial / RECORD, {**record, "sha256": _digest(record)})
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


__all__ = ["CriticResult", "make_critic", "read_critic"]

"""Sequential modules behind a trunk: a projection of [embedding, hidden state], the trunk's own decoder layer, a norm."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wmtp.contracts.architectures import ArchitectureSpec, Convention
from wmtp.errors import ResourceError
from wmtp.models.architectures.found import ModuleTensors
from wmtp.models.architectures.trunk import Trunk

Read = Callable[[str], Tensor]
"""A stored name → its tensor."""


class MtpModule(nn.Module):
    """One module. `norm`, `head` and `embed_tokens` are ``None`` where it shares the trunk's.

    `copies`: of the last two, those that its checkpoint stores although they are the trunk's; they are stored again.
    """

    def __init__(self, trunk: Trunk, block: nn.Module, kind: str) -> None:
        super().__init__()
        size = trunk.norm.weight.shape[0]  # type: ignore[index]
        self.enorm, self.hnorm = copy.deepcopy(trunk.norm), copy.deepcopy(trunk.norm)
        self.eh_proj = nn.Linear(2 * int(size), int(size), bias=False, device="meta", dtype=trunk.dtype)
        self.block = block
        self.kind = kind
        self.norm: nn.Module | None = None
        self.head: Tensor | None = None
        self.embed_tokens: Tensor | None = None
        self.copies: tuple[str, ...] = ()


class SequentialModules(nn.Module):
    """All modules of a checkpoint, with the trunk that they stand behind.

    Draft steps are numbered from 0 on: step d of a position p takes the embedding of token p + 1 + d, and predicts token
    p + 2 + d. Steps beyond the last module run the last one once more on its own output.

    Attributes:
        spec: the family's record.
        convention: how they are run; the record's own unless set otherwise.
    """

    def __init__(self, trunk: Trunk, modules: Sequence[MtpModule], spec: ArchitectureSpec) -> None:
        super().__init__()
        self.items = nn.ModuleList(modules)
        self.spec = spec
        self.convention: Convention = spec.convention
        self._trunk = [trunk]  # in a list: the model's parameters are not ours

    @property
    def trunk(self) -> Trunk:
        return self._trunk[0]

    @property
    def count(self) -> int:
        return len(self.items)

    def module(self, step: int) -> MtpModule:
        """The module that a draft step runs."""
        found = self.items[min(step, self.count - 1)]
        assert isinstance(found, MtpModule)
        return found

    def first_hidden(self, before: Tensor, behind: Tensor) -> Tensor:
        """What the first module takes of the trunk's states before and behind its final norm."""
        return before if self.convention.hidden == "pre" else behind

    def forward(
        self, step: int, hidden: Tensor, tokens: Tensor, positions: Tensor, mask: Tensor, cache: Any = None
    ) -> Tensor:
        """One draft step: states before the norm in front of the output matrix, [rows, width, hidden].

        Args:
            step: number of the draft step.
            hidden: [rows, width, hidden], of `first_hidden` or `chained`.
            tokens: [rows, width], the tokens to join with them.
            positions: [rows, width], positions of those tokens.
            mask: added to attention scores, [rows, 1, width, length].
            cache: of transformers' kind; the module's layer number in it continues the trunk's.
        """
        module = self.module(step)
        embedded = self._embed(module, tokens)
        if self.convention.zero_first:
            embedded = embedded.masked_fill((positions == 1)[..., None], 0)
        parts = [module.enorm(embedded), module.hnorm(hidden)]
        joined = torch.cat(parts if self.convention.concat == "eh" else parts[::-1], dim=-1)
        states = module.eh_proj(joined)
        out = module.block(
            states,
            attention_mask=mask,
            position_ids=positions,
            position_embeddings=self.trunk.rotate(states, positions, module.kind),
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return out[0] if isinstance(out, tuple) else out  # type: ignore[no-any-return]

    def _embed(self, module: MtpModule, tokens: Tensor) -> Tensor:
        if module.embed_tokens is not None:
            return nn.functional.embedding(tokens, module.embed_tokens)
        return self.trunk.embed(tokens)

    def normed(self, step: int, states: Tensor) -> Tensor:
        """States behind the norm in front of the output matrix: the module's own, or the trunk's."""
        norm = self.module(step).norm
        return (self.trunk.norm if norm is None else norm)(states)  # type: ignore[no-any-return]

    def chained(self, step: int, states: Tensor) -> Tensor:
        """What the next draft step takes of this one's states."""
        return states if self.convention.chain == "pre" else self.normed(step, states)

    def project(self, step: int, states: Tensor) -> Tensor:
        """States of a draft step → logits, [… , vocabulary]."""
        normed, head = self.normed(step, states), self.module(step).head
        return self.trunk.project(normed) if head is None else nn.functional.linear(normed, head)

    def all_states(
        self,
        ids: Tensor,
        hidden: Tensor,
        depth: int,
        *,
        positions: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> list[Tensor]:
        """States of every draft step at every position of texts, each given the true tokens: [rows, width, hidden] a step.

        Gradients go through it: with `project` it is what modules are trained by.

        A module of its own attends to its own inputs of all earlier positions. The last module run once more does as in
        decoding: to the true inputs of its first run up to this position, and to its own further runs at this position.

        Args:
            ids: [rows, width]; padding stands behind the texts.
            hidden: [rows, width, hidden] of `first_hidden`. Positions whose tokens lie behind a text get states of no meaning.
            depth: draft steps.
            positions: [rows, width] of the tokens in their documents, where rows hold several; default: one document a row.
            seen: [rows, 1, width, width], true where a position sees another, for such rows; default: all earlier ones.

        Raises:
            ValueError: `seen` with more steps than modules: what a module's further runs see is not in it.
        """
        width = ids.shape[1]
        if seen is not None and depth > self.count:
            raise ValueError(f"{depth} steps of {self.count} modules over rows of several documents; take {self.count}")
        following = torch.cat([ids, ids.new_zeros(len(ids), depth)], dim=1)
        if positions is None:
            positions = torch.arange(width, device=ids.device)[None]
        found: list[Tensor] = []
        memory: Any = None
        for step in range(depth):
            kind = self.module(step).kind
            again = step - (self.count - 1)  # runs of the last module before this one
            if again == 0 and depth > self.count:
                memory = _Memory()
            mask = _mask(width, max(0, again), self.trunk.window(kind), hidden)
            if seen is not None:
                mask = mask.masked_fill(~seen, float("-inf"))
            tokens = following[:, step + 1 : step + 1 + width]
            states = self(step, hidden, tokens, positions + 1 + step, mask, memory if again >= 0 else None)
            found.append(states)
            hidden = self.chained(step, states)
        return found


class _Memory:
    """Keys and values of all runs of one module over a text, one run behind the other."""

    def __init__(self) -> None:
        self._parts: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self._parts is not None:
            keys, values = torch.cat([self._parts[0], keys], dim=2), torch.cat([self._parts[1], values], dim=2)
        self._parts = keys, values
        return keys, values


def _mask(width: int, again: int, window: int | None, like: Tensor) -> Tensor:
    """[1, 1, width, (again + 1) · width]: causal over the first run, and the position itself of every run behind it.

    A window counts places in the sequence that decoding would see: true inputs up to this position, then its further runs.
    """
    at = torch.arange(width, device=like.device)
    back = at[:, None] - at[None]
    seen = back >= 0
    if window is not None:
        seen &= back + again < window
    itself = back == 0
    parts = [seen] + [itself & (window is None or again - run < window) for run in range(1, again + 1)]
    mask = torch.zeros(width, width * len(parts), dtype=like.dtype, device=like.device)
    return mask.masked_fill_(~torch.cat(parts, dim=1), float("-inf"))[None, None]


def build_modules(
    trunk: Trunk, spec: ArchitectureSpec, tensors: Sequence[ModuleTensors], read: Read
) -> SequentialModules:
    """Modules with their stored weights, in the trunk's dtype and on its device.

    Where `read` gives tensors without content (on the meta device), so do the modules: a check of names and shapes.

    Raises:
        ResourceError: tensors are missing, have other shapes than the trunk asks for, or no layer of the trunk is like theirs.
    """
    kinds = list(getattr(trunk.config, "mtp_layer_types", None) or ()) or ["full_attention"]
    modules = []
    for number, stored in enumerate(tensors):
        kind = kinds[min(number, len(kinds) - 1)]
        weights = block_weights(spec, stored.roles.get("block", {}), read)
        block = _like(trunk, weights, kind, trunk.config.num_hidden_layers + number)
        module = MtpModule(trunk, block, kind)
        _assign(block, weights, trunk, f"module {number}'s layer")
        for role in ("enorm", "hnorm", "eh_proj", "norm"):
            names = stored.roles.get(role, {})
            if role == "norm" and names:
                module.norm = copy.deepcopy(trunk.norm)
            elif role == "norm" and spec.out_norm == "own":
                raise ResourceError(f"module {number} has no norm in front of the output matrix")
            part = getattr(module, role)
            if part is not None:
                _assign(
                    part, {rest: _plain(read, name) for rest, name in names.items()}, trunk, f"module {number}'s {role}"
                )
        module.head = _own(stored, "head", trunk.model.get_output_embeddings().weight, read)
        module.embed_tokens = _own(stored, "embed_tokens", trunk.model.get_input_embeddings().weight, read)
        module.copies = tuple(
            role
            for role in ("head", "embed_tokens")
            if "weight" in stored.roles.get(role, {}) and getattr(module, role) is None
        )
        modules.append(module)
    return SequentialModules(trunk, modules, spec).eval()


def _plain(read: Read, name: str) -> Callable[[], Tensor]:
    return lambda: read(name)


def block_weights(spec: ArchitectureSpec, stored: Mapping[str, str], read: Read) -> dict[str, Callable[[], Tensor]]:
    """The decoder layer's tensors under the names that transformers has in memory, where experts are one tensor."""
    weights: dict[str, Callable[[], Tensor]] = {}
    experts: dict[str, dict[int, dict[str, str]]] = {}
    for rest, name in stored.items():
        for theirs, ours in spec.block.items():
            rest = rest.replace(theirs, ours)
        owner, mark, tail = rest.partition("experts.")
        number, _, part = tail.partition(".")
        if mark and number.isdigit() and part in ("gate_proj.weight", "up_proj.weight", "down_proj.weight"):
            experts.setdefault(owner, {}).setdefault(int(number), {})[part.partition("_")[0]] = name
        else:
            weights[rest] = _plain(read, name)
    for owner, found in experts.items():
        if sorted(found) != list(range(len(found))) or any(len(parts) != 3 for parts in found.values()):
            raise ResourceError(f"experts {owner}experts.* are not complete: there are {len(found)} of them")
        weights[f"{owner}experts.gate_up_proj"] = _joined(found, read, ("gate", "up"))
        weights[f"{owner}experts.down_proj"] = _joined(found, read, ("down",))
    return weights


def _joined(found: Mapping[int, Mapping[str, str]], read: Read, parts: Sequence[str]) -> Callable[[], Tensor]:
    def join() -> Tensor:
        return torch.stack([torch.cat([read(found[i][part]) for part in parts]) for i in range(len(found))])

    return join


def _like(trunk: Trunk, weights: Mapping[str, Any], kind: str, number: int) -> nn.Module:
    """An empty copy of the trunk's layer of this kind that has the same tensors, under another number.

    Of this kind: a copy of a layer with another kind of attention could turn positions another way, or not at all.
    """
    told = f"the trunk has no layer of kind {kind} for a module's decoder layer to be like"
    for index in reversed(range(len(trunk.layers))):
        if trunk.layer_type(index) != kind:
            continue
        differ = sorted(set(trunk.layers[index].state_dict()) ^ set(weights))
        if not differ:
            return copied_layer(trunk, index, number)
        told = f"a module's decoder layer is like none of the trunk's of kind {kind}: {', '.join(differ[:4])} differ"
    raise ResourceError(told)


def copied_layer(trunk: Trunk, index: int, number: int) -> nn.Module:
    """An empty copy of a layer of the trunk, its parameters on the meta device, under another number."""
    layer = trunk.layers[index]
    # Weights are left out, and what layers share (the configuration) stays shared.
    memo: dict[int, Any] = {id(p): nn.Parameter(torch.empty_like(p, device="meta"), False) for p in layer.parameters()}
    configs = [c for m in layer.modules() if (c := getattr(m, "config", None)) is not None]
    memo.update({id(c): c for c in configs})
    made = copy.deepcopy(layer, memo)
    for part in made.modules():
        if getattr(part, "layer_idx", None) == index:
            part.layer_idx = number  # type: ignore[assignment]
    return made


def _assign(part: nn.Module, weights: Mapping[str, Callable[[], Tensor]], trunk: Trunk, told: str) -> None:
    shapes = dict(part.state_dict().items())
    if set(shapes) != set(weights):
        raise ResourceError(f"{told} lacks or has too much of {', '.join(sorted(set(shapes) ^ set(weights))[:4])}")
    device = next(trunk.model.parameters()).device
    ready = {}
    for name, make in weights.items():
        tensor = make()
        if tensor.shape != shapes[name].shape:
            raise ResourceError(
                f"{told}: {name} is {list(tensor.shape)}, the trunk's configuration makes it {list(shapes[name].shape)}"
            )
        ready[name] = tensor if tensor.is_meta else tensor.to(device=device, dtype=shapes[name].dtype)
    part.load_state_dict(ready, assign=True)


def _own(stored: ModuleTensors, role: str, shared: Tensor, read: Read) -> Tensor | None:
    """A matrix of the module's own; ``None`` where the stored one is a copy of the trunk's, as DeepSeek's are."""
    names = stored.roles.get(role, {})
    if "weight" not in names:
        return None
    tensor = read(names["weight"])
    if tensor.shape != shared.shape:
        raise ResourceError(f"{names['weight']} is {list(tensor.shape)}, the trunk's is {list(shared.shape)}")
    if tensor.is_meta:
        return tensor
    tensor = tensor.to(device=shared.device, dtype=shared.dtype)
    return None if torch.equal(tensor, shared) else tensor

"""Modules that are made and not read: to be trained behind a trunk, and written under a family's names."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wmtp import json_text
from wmtp.contracts.architectures import ArchitectureSpec
from wmtp.errors import ResourceError
from wmtp.models.architectures.found import stored_tensors
from wmtp.models.architectures.module import MtpModule, SequentialModules, copied_layer
from wmtp.models.architectures.trunk import Trunk
from wmtp.models.weight_files import INDEX

FILE = "model-mtp.safetensors"


def new_modules(model: Any, spec: ArchitectureSpec, count: int = 1, *, seed: int = 0) -> SequentialModules:
    """Modules that start from the trunk's last layer of full attention, in training mode, with gradients.

    `SequentialModules.all_states` is their forward over a text, and `project` gives logits. The trunk is not changed.

    Args:
        model: a causal language model of transformers. spec: the family's record. count: how many modules.
        seed: of the projections; everything else is the trunk's.

    Raises:
        ResourceError: the trunk has no layer of full attention.
    """
    trunk = Trunk(model)
    kinds = [trunk.layer_type(i) for i in range(len(trunk.layers))]
    if "full_attention" not in kinds:
        raise ResourceError("the trunk has no layer of full attention for a module to start from")
    index = len(kinds) - 1 - kinds[::-1].index("full_attention")
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        block = copied_layer(trunk, index, len(kinds) + number)
        block.load_state_dict({k: v.clone() for k, v in trunk.layers[index].state_dict().items()}, assign=True)
        module = MtpModule(trunk, block, "full_attention")
        size = module.eh_proj.out_features
        like = next(block.parameters())
        weight = torch.randn(size, 2 * size, generator=generator) * (2 * size) ** -0.5
        module.eh_proj = nn.Linear(2 * size, size, bias=False, device=like.device, dtype=like.dtype)
        module.eh_proj.weight.data.copy_(weight)
        if spec.out_norm == "own":
            module.norm = copy.deepcopy(trunk.norm)
        made.append(module)
    return SequentialModules(trunk, made, spec).train().requires_grad_(True)


def save_modules(modules: SequentialModules, folder: Path) -> tuple[str, ...]:
    """Writes modules beside a trunk that is saved there, under their family's names; returns the names.

    config.json gets the family's key for how many there are, and the index, if there is one, names the new file.
    """
    from safetensors.torch import save_file

    tensors = dict(_named(modules))
    save_file(
        {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()},  # copies share their memory
        str(folder / FILE),
        metadata={"format": "pt"},
    )
    path = folder / INDEX
    weight_map = {name: file.name for name, file in stored_tensors(folder).files.items()}
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    if path.is_file():
        size += int(json_text.loads(path.read_bytes()).get("metadata", {}).get("total_size", 0))
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    config = folder / "config.json"
    stored = {**json_text.loads(config.read_bytes()), modules.spec.declared[0]: modules.count}
    if modules.spec.trunk and stored["model_type"] == modules.spec.trunk:
        stored["model_type"] = modules.spec.model_types[0]
    config.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    return tuple(sorted(tensors))


def _named(modules: SequentialModules) -> Iterator[tuple[str, Tensor]]:
    spec, layers = modules.spec, int(modules.trunk.config.num_hidden_layers)
    model = modules.trunk.model
    output, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    starts: dict[str, str] = {}
    for start, role in spec.tensors.items():
        starts.setdefault(role, start)
    for number, module in enumerate(modules.items):
        for role in ("enorm", "hnorm", "eh_proj", "norm"):
            part = getattr(module, role)
            if part is not None:
                start = starts[role].format(i=number, layer=layers + number)
                yield from ((start + rest, tensor) for rest, tensor in part.state_dict().items())
        for role, shared in (("head", output), ("embed_tokens", embedding)):
            own = getattr(module, role)
            if own is not None or role in module.copies:  # type: ignore[operator]
                yield starts[role].format(i=number, layer=layers + number) + "weight", shared if own is None else own
        start = starts["block"].format(i=number, layer=layers + number)
        for rest, tensor in module.block.state_dict().items():  # type: ignore[union-attr]
            for name, value in _experts(rest, tensor):
                for theirs, ours in spec.block.items():
                    name = name.replace(ours, theirs)
                yield start + name, value


def _experts(rest: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Experts that transformers holds as one tensor are stored one by one."""
    owner, _, kind = rest.rpartition(".")
    if not owner.endswith("experts") or kind not in ("gate_up_proj", "down_proj"):
        yield rest, tensor
        return
    for number, one in enumerate(tensor):
        if kind == "down_proj":
            yield f"{owner}.{number}.down_proj.weight", one
        else:
            gate, up = one.chunk(2)
            yield f"{owner}.{number}.gate_proj.weight", gate
            yield f"{owner}.{number}.up_proj.weight", up

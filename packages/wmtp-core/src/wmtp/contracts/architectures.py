"""How the multi-token-prediction modules of a checkpoint are found, named and run: one record a family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from wmtp.contracts.validators import as_tuple, identifier, one_line, one_of, texts, true_or_false
from wmtp.contracts.values import instance_of

ROLES = ("eh_proj", "enorm", "hnorm", "norm", "head", "embed_tokens", "block")
"""What a tensor of a module can be for: the projection of [embedding, hidden state], the norms of the two, the norm in front
of the output matrix, an output matrix and an embedding of its own, and the decoder layer."""


@attrs.frozen(kw_only=True)
class Convention:
    """How a module is to be fed. Weights hold for the convention that they were trained with, and no file says which.

    Attributes:
        concat: order inside the projection: ``eh`` is [embedding, hidden state].
        hidden: the trunk's state that the first module takes: ``post`` its final norm, or ``pre``.
        chain: the state that a module hands to the next draft step: ``post`` its norm, or ``pre``.
        zero_first: the embedding beside the trunk's first position is zeroed.
    """

    concat: Literal["eh", "he"] = attrs.field(default="eh", validator=one_of("eh", "he"))
    hidden: Literal["pre", "post"] = attrs.field(default="post", validator=one_of("pre", "post"))
    chain: Literal["pre", "post"] = attrs.field(default="post", validator=one_of("pre", "post"))
    zero_first: bool = attrs.field(default=False, validator=true_or_false)

    def __str__(self) -> str:
        order = "[embedding, hidden]" if self.concat == "eh" else "[hidden, embedding]"
        zeroed = ", first embedding zeroed" if self.zero_first else ""
        return f"{order}, {self.hidden}-norm hidden state, {self.chain}-norm between steps{zeroed}"


def _tensor_roles(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Beginnings of names → roles; a layer and a projection there must be."""
    if not isinstance(value, Mapping) or not all(isinstance(start, str) and start for start in value):
        raise TypeError(f"ArchitectureSpec.tensors is {value!r}; a mapping of beginnings of names to roles")
    if unknown := sorted({str(role) for role in value.values()} - set(ROLES)):
        raise TypeError(f"ArchitectureSpec.tensors holds {unknown[0]!r}; roles are {', '.join(ROLES)}")
    if not instance.refusal and (missing := {"block", "eh_proj", "enorm", "hnorm"} - set(value.values())):
        raise TypeError(f"ArchitectureSpec.tensors has no name for {', '.join(sorted(missing))}")


@attrs.frozen(kw_only=True)
class ArchitectureSpec:
    """A family of checkpoints with multi-token-prediction modules. Plain data: core finds, builds and runs the modules by it.

    Modules are sequential, as DeepSeek-V3 has them: module d joins the hidden state of a position with the embedding of the
    token d places on, runs them through a decoder layer of the trunk's own class, and predicts the token behind that one.

    Attributes:
        name: of the family, as reports have it.
        summary: one line: which checkpoints these are.
        model_types: ``model_type`` values of config.json that this record goes before all others for. A checkpoint of
            another type is taken for this family where its tensors have these names.
        tensors: beginning of a tensor's name → its role, one of `ROLES`. ``{i}`` stands for a module's number from 0 on,
            ``{layer}`` for that number behind the trunk's layers. A name without either belongs to all modules. The longest
            beginning that fits decides.
        declared: keys of config.json that say how many modules there are.
        convention: how the modules are run.
        engines: what serving engines feed them, in words, where that differs or is disputed.
        out_norm: whose norm goes before the output matrix: the module's ``own``, or the ``trunk``'s.
        recursive: whether the last module was trained to take its own output, for drafts beyond the number of modules.
        block: pieces of tensor names within the decoder layer → what the trunk's layers call them.
        trunk: ``model_type`` of transformers that runs the trunk, where config.json's own is not known there.
        refusal: why modules of this family are found and named but not run; empty where they are.
    """

    name: str = attrs.field(validator=identifier)
    summary: str = attrs.field(validator=one_line)
    model_types: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=texts)
    tensors: Mapping[str, str] = attrs.field(validator=_tensor_roles, hash=False)
    declared: tuple[str, ...] = attrs.field(default=("num_nextn_predict_layers",), converter=as_tuple, validator=texts)
    convention: Convention = attrs.field(factory=Convention, validator=instance_of(Convention))
    engines: str = ""
    out_norm: Literal["own", "trunk"] = attrs.field(default="own", validator=one_of("own", "trunk"))
    recursive: bool = attrs.field(default=False, validator=true_or_false)
    block: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    trunk: str = ""
    refusal: str = ""


@attrs.frozen(kw_only=True)
class HeadsFound:
    """What a checkpoint has to predict further tokens with, and whether it is used: for results.json and reports.

    Attributes:
        family: an architecture's name, ``parallel`` for heads that all look from the same trunk, ``unknown``, or ``""``.
        modules: how many are stored, the next-token head not counted.
        declared: how many config.json says there are; ``None`` where it says nothing.
        used: whether they can draft and be scored.
        why: one line: why they are not used, or what is doubtful about them; empty where all is well.
        convention: how they are run, in words.
    """

    family: str = ""
    modules: int = 0
    declared: int | None = None
    used: bool = False
    why: str = ""
    convention: str = ""

    def __str__(self) -> str:
        """One line; empty where a checkpoint neither has modules nor says that it has."""
        if not (self.family or self.why):
            return ""
        count = f"{self.modules} {self.family} module{'' if self.modules == 1 else 's'}" if self.family else "none"
        return f"{count}; {self.why}" if self.why else count

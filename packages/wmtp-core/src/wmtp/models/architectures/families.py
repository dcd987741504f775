"""The families of released checkpoints with multi-token-prediction modules: core's own architecture records.

Names and conventions are those that the checkpoints' loaders in serving engines and in transformers use, and what the authors
published where they did. Where engines disagree about a family, `engines` says so: ``wmtp heads --check`` finds out.
"""

from __future__ import annotations

from wmtp.contracts.architectures import ArchitectureSpec, Convention

_BEHIND_TRUNK = {
    "model.layers.{layer}.": "block",
    "model.layers.{layer}.enorm.": "enorm",
    "model.layers.{layer}.hnorm.": "hnorm",
    "model.layers.{layer}.eh_proj.": "eh_proj",
    "model.layers.{layer}.embed_tokens.": "embed_tokens",
    "model.layers.{layer}.shared_head.norm.": "norm",
    "model.layers.{layer}.shared_head.head.": "head",
    "model.layers.{layer}.shared_head.output.": "head",
    "model.layers.{layer}.final_layernorm.": "norm",
}
_MTP_FC = {
    "mtp.fc.": "eh_proj",
    "mtp.pre_fc_norm_embedding.": "enorm",
    "mtp.pre_fc_norm_hidden.": "hnorm",
    "mtp.norm.": "norm",
    "mtp.layers.{i}.": "block",
}
_ROUTER_BIAS = {"mlp.e_score_correction_bias": "mlp.gate.e_score_correction_bias"}
_ZEROED = Convention(zero_first=True)
_CONTESTED = "engines disagree whether the first module takes the state before or after the trunk's final norm"
_NEEDS_CODE = "its trunk runs with remote code only, which is not loaded"

FAMILIES: tuple[ArchitectureSpec, ...] = (
    ArchitectureSpec(
        name="deepseek-v3",
        summary="DeepSeek-V3, R1, V3.1: a module behind the trunk's layers",
        model_types=("deepseek_v3", "sarvam_mla"),
        tensors=_BEHIND_TRUNK,
        convention=_ZEROED,
        engines=_CONTESTED,
    ),
    ArchitectureSpec(
        name="glm4-moe",
        summary="GLM-4.5 and 4.6, Air among them",
        model_types=("glm4_moe", "glm4v_moe"),
        tensors=_BEHIND_TRUNK,
        convention=_ZEROED,
        engines=_CONTESTED,
    ),
    ArchitectureSpec(
        name="glm4-moe-lite",
        summary="GLM-4.7-Flash",
        model_types=("glm4_moe_lite",),
        tensors=_BEHIND_TRUNK,
        engines=_CONTESTED,
    ),
    ArchitectureSpec(
        name="deepseek-v3.2",
        summary="DeepSeek-V3.2 and GLM-5: attention through a sparse index",
        model_types=("deepseek_v32", "glm_moe_dsa"),
        tensors=_BEHIND_TRUNK,
        engines=_CONTESTED,
        refusal="attention through a sparse index is not run in modules",
    ),
    ArchitectureSpec(
        name="glm-ocr",
        summary="GLM-OCR",
        model_types=("glm_ocr", "glm_ocr_text"),
        tensors={f"model.language_{name}": role for name, role in _BEHIND_TRUNK.items()},
        convention=_ZEROED,
        refusal="image models are not evaluated",
    ),
    ArchitectureSpec(
        name="hy-v3",
        summary="Hunyuan 3",
        model_types=("hy_v3",),
        tensors=_BEHIND_TRUNK,
        block={
            "mlp.router.gate.": "mlp.gate.",
            "mlp.expert_bias": "mlp.e_score_correction_bias",
            "mlp.shared_mlp.": "mlp.shared_experts.",
        },
    ),
    ArchitectureSpec(
        name="ling",
        summary="Ling 2 and 3",
        model_types=("bailing_moe_v2", "bailing_moe_linear", "bailing_moe_v2_5", "bailing_moe_v3", "bailing_hybrid"),
        tensors=_BEHIND_TRUNK,
        refusal=_NEEDS_CODE,
    ),
    ArchitectureSpec(
        name="step3",
        summary="Step-3.5 and 3.7 Flash: three modules with output matrices of their own",
        model_types=("step3p5", "step3p7"),
        tensors=_BEHIND_TRUNK,
    ),
    ArchitectureSpec(
        name="mimo",
        summary="MiMo-7B: a Qwen2 trunk",
        model_types=("mimo",),
        tensors={
            "model.mtp_layers.{i}.": "block",
            "model.mtp_layers.{i}.token_layernorm.": "enorm",
            "model.mtp_layers.{i}.hidden_layernorm.": "hnorm",
            "model.mtp_layers.{i}.input_proj.": "eh_proj",
            "model.mtp_layers.{i}.final_layernorm.": "norm",
        },
        convention=Convention(concat="he", zero_first=True),
        trunk="qwen2",
    ),
    ArchitectureSpec(
        name="mimo-v2",
        summary="MiMo-V2 and V2.5: three modules",
        model_types=("mimo_v2_flash", "mimo_v2"),
        tensors={
            "model.mtp.layers.{i}.": "block",
            "model.mtp.layers.{i}.enorm.": "enorm",
            "model.mtp.layers.{i}.hnorm.": "hnorm",
            "model.mtp.layers.{i}.eh_proj.": "eh_proj",
            "model.mtp.layers.{i}.final_layernorm.": "norm",
        },
        block={"pre_mlp_layernorm.": "post_attention_layernorm."},
    ),
    ArchitectureSpec(
        name="ernie4.5",
        summary="ERNIE 4.5: modules take the state before the trunk's norm, which also stands before the output matrix",
        model_types=("ernie4_5", "ernie4_5_moe"),
        tensors={
            "model.mtp_block.{i}.": "block",
            "model.mtp_emb_norm.{i}.": "enorm",
            "model.mtp_hidden_norm.{i}.": "hnorm",
            "model.mtp_linear_proj.{i}.": "eh_proj",
        },
        convention=Convention(hidden="pre", chain="pre"),
        engines="engines feed the state after the trunk's norm and apply no norm before the output matrix",
        out_norm="trunk",
        block={"mlp.moe_statics.": "mlp.gate.moe_statics."},
    ),
    ArchitectureSpec(
        name="qwen3-next",
        summary="Qwen3-Next",
        model_types=("qwen3_next",),
        tensors=_MTP_FC,
        declared=("mtp_num_hidden_layers", "num_nextn_predict_layers"),
    ),
    ArchitectureSpec(
        name="qwen3.5",
        summary="Qwen3.5, 3.6 and 3.8",
        model_types=("qwen3_5_text", "qwen3_5", "qwen3_5_moe_text", "qwen3_5_moe"),
        tensors=_MTP_FC,
        declared=("mtp_num_hidden_layers",),
    ),
    ArchitectureSpec(
        name="mellum",
        summary="Mellum 2",
        model_types=("mellum",),
        tensors=_MTP_FC,
        declared=("num_mtp_layers", "num_nextn_predict_layers"),
    ),
    ArchitectureSpec(
        name="exaone",
        summary="EXAONE 4.5 and K-EXAONE",
        model_types=("exaone_moe", "exaone4_5_text", "exaone4_5", "exaone4"),
        tensors=_MTP_FC,
        block=_ROUTER_BIAS,
    ),
    ArchitectureSpec(
        name="longcat-flash",
        summary="LongCat-Flash",
        model_types=("longcat_flash",),
        tensors={
            "model.mtp.layers.{i}.": "block",
            "model.mtp.layers.{i}.eh_proj.": "eh_proj",
            "model.mtp.layers.{i}.enorm.m.": "enorm",
            "model.mtp.layers.{i}.hnorm.m.": "hnorm",
            "model.mtp.embed_tokens.": "embed_tokens",
            "model.mtp.norm.": "norm",
        },
        declared=("num_nextn_predict_layers", "mtp_num_layers"),
        refusal="its modules have a layer of their own kind, unlike the trunk's",
    ),
    ArchitectureSpec(
        name="nemotron-h",
        summary="Nemotron 3",
        model_types=("nemotron_h",),
        tensors={
            "mtp.layers.{i}.": "block",
            "mtp.layers.{i}.enorm.": "enorm",
            "mtp.layers.{i}.hnorm.": "hnorm",
            "mtp.layers.{i}.eh_proj.": "eh_proj",
            "mtp.layers.{i}.final_layernorm.": "norm",
        },
        recursive=True,
        refusal="a module of it is several sublayers, which are not run yet",
    ),
    ArchitectureSpec(
        name="deepseek-v4",
        summary="DeepSeek-V4: modules with hyper-connections",
        model_types=("deepseek_v4",),
        tensors={
            "mtp.{i}.": "block",
            "mtp.{i}.e_proj.": "eh_proj",
            "mtp.{i}.h_proj.": "eh_proj",
            "mtp.{i}.enorm.": "enorm",
            "mtp.{i}.hnorm.": "hnorm",
        },
        refusal="hyper-connections are not run",
    ),
    ArchitectureSpec(
        name="minimax",
        summary="MiniMax M2 and M3",
        model_types=("minimax_m2", "minimax_m3", "minimax_m3_vl"),
        tensors={"model.mtp_modules.{i}.": "block", "model.mtp.{i}.": "block", "mtp.{i}.": "block"},
        declared=("num_mtp_modules",),
        refusal="the names of its modules' tensors are not known well enough to run them",
    ),
)

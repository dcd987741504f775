"""Types of transformers that tests have decoded beside its own ``generate``: what docs/models.md lists."""

from __future__ import annotations

RAGGED = frozenset({
    "apertus", "arcee", "bitnet", "codegen", "cohere", "dbrx", "deepseek_v2", "deepseek_v3", "diffllama", "dots1",
    "ernie4_5", "ernie4_5_moe", "falcon", "flex_olmo", "gemma", "glm", "glm4", "glm4_moe", "glm4_moe_lite", "gpt2",
    "gpt_bigcode", "gpt_neox", "gptj", "granite", "granitemoe", "granitemoeshared", "helium", "hunyuan_v1_dense",
    "hunyuan_v1_moe", "hy_v3", "iquestcoder", "jais2", "jetmoe", "llama", "minimax_m2", "ministral3", "mistral", "mixtral",
    "mtp_llama", "nanochat", "nemotron", "olmo", "olmo2", "olmoe", "opt", "persimmon", "phi", "phi3", "phimoe", "qwen2",
    "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "smollm3", "solar_open", "stablelm", "starcoder2", "youtu",
})  # fmt: skip
"""Types that a test has decoded at each row's own pace, with full attention in all layers (docs/models.md)."""

RECURRENT = frozenset({
    "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "kimi_linear", "lfm2", "lfm2_moe", "mamba", "mamba2",
    "nemotron_h", "olmo_hybrid", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "zamba2",
})  # fmt: skip
"""Types with recurrent layers of which a test has decoded rows at each row's own pace, each with states of its own."""

ALIGNED = frozenset({
    "afmoe", "aria_text", "axk1", "axk2", "beam", "bert", "bert-generation", "big_bird", "biogpt", "bloom", "camembert",
    "cohere2", "cohere2_moe", "cpmant", "ctrl", "cwm", "data2vec-text", "deepseek_v32", "deepseek_v4", "doge",
    "electra", "ernie", "exaone4", "exaone_moe", "flint", "gemma2", "gemma3_text", "gemma4_text", "glm_moe_dsa",
    "gpt_neo", "gpt_neox_japanese", "gpt_oss", "granite_swa", "granitemoe_swa", "hrm_text", "hy_v4", "hyperclovax",
    "inkling2_text", "inkling_text", "internlm3", "kolibri1", "laguna", "llama4_text", "megatron-bert", "mellum",
    "mimo_v2_flash", "minicpm3", "minimax", "minimax_m3_vl_text", "ministral", "modernbert-decoder", "mpt", "olmo3",
    "openai-gpt", "recurrent_gemma", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "vaultgemma",
    "xglm", "xlm", "xlm-roberta", "xlm-roberta-xl", "xmod",
})  # fmt: skip
"""Types that a test has decoded by rows of equal length. Those of `RAGGED` with windows and scaled positions are as well."""

WINDOWED = frozenset({
    "afmoe", "cohere2", "cohere2_moe", "cwm", "dots1", "exaone4", "exaone_moe", "gemma2", "gemma3_text", "gpt_oss",
    "granite_swa", "granitemoe_swa", "kolibri1", "mellum", "mimo_v2_flash", "ministral", "mistral", "mixtral",
    "modernbert-decoder", "olmo3", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "starcoder2", "vaultgemma",
})  # fmt: skip
"""Types of which a test has decoded layers with sliding windows at each row's own pace, under masks of ours."""

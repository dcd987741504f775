"""From prompts to completions: sampling, engines, speculative decoding."""

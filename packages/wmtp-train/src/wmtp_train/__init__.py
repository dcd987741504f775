"""Training of multi-token-prediction models with token weights: the trainer ``mtp-v1``, its commands, and controls."""

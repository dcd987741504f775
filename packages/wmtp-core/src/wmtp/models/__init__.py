"""From a model reference to a model and a tokenizer; Meta's checkpoints; the MTP model class."""

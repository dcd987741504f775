"""Running model-written code where it can do no harm, and saying how it ended."""

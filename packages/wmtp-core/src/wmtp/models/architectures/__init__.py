"""Multi-token-prediction modules behind a trunk of transformers: found in a folder, named, built and run."""

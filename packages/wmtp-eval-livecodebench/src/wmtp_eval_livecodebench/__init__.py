"""LiveCodeBench's code generation for WMTP (Jain et al., arXiv 2403.07974)."""

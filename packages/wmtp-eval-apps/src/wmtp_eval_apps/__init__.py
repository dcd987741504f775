"""APPS for WMTP (Hendrycks et al., arXiv 2105.09938)."""

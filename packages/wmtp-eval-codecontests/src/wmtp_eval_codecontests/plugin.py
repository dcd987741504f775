"""The hook implementations of this distribution."""

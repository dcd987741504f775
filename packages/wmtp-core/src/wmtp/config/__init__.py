"""What the user writes: environment and recipe, structured strictly, with key paths."""

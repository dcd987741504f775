"""What the heads of a model are worth: losses, expected acceptance, and the convention that they were trained with."""

"""The trusted process that holds the tests and decides. Standard library only."""

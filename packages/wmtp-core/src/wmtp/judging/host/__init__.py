"""What the parent does: it starts the processes, watches them and says what does not hold."""

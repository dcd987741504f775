"""What crosses the border between checker and sandbox: kinds of frames, frames, values. Standard library only."""

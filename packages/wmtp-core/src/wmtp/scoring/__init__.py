"""Token weights with mean 1 inside their bounds, and the weighted MTP loss."""

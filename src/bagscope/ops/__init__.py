"""Mathematics on tensors and arrays: no files, no settings, no state."""

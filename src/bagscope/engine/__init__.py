"""The stages of the work, one file each."""

"""Experiments of the papers, one file each."""

"""Blocks: pixel maps from what is known of whole blocks of tissue."""

"""From rows of a table to batches: what all tasks share."""

"""The traditional workflow: segment nuclei, measure each, count those above a threshold. Networks are judged by it."""

"""How fast bagscope is, and how much memory it takes: each measure a ratio of two sides of one run."""

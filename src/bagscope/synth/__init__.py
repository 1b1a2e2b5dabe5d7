"""Made-up specimens whose truth is known: for the demo and the experiments."""

"""Made-up specimens whose truth is known: for the demo, the tests and the experiments."""

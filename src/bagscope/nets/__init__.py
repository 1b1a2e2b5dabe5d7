"""Networks and poolings by name."""

"""What a person may choose, checked before any work: no torch and no pandas in this room."""

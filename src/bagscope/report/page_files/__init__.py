"""The page itself: its markup, style and script."""

"""What other programs open: outlines as GeoJSON."""

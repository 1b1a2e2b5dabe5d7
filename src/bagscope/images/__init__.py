"""Whole images with one label each, as bags of class-map elements."""

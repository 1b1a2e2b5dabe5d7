"""Screen tables: what a person wrote down about the images, checked, split and summed up."""

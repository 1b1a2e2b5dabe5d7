"""Volumes: shapes of nuclei, judged by the voxels that they fill."""

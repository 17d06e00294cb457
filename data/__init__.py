"""Turns MovieLens releases, CSV files and seeded random numbers into data folders, the pipeline's only input."""

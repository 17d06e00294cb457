"""Turns MovieLens releases, CSV files and seeded random numbers into `ratings.csv`, the pipeline's only input."""

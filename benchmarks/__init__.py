"""Speeds, as ratios in one run: `make bench`, or some: `make bench ARGS="batches growth"`."""

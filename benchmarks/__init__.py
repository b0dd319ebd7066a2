"""Speeds, as ratios in one run. `make bench` runs them all; `make bench ARGS="batches growth"` some."""

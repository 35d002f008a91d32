"""Benchmarks: `make bench` runs them all, prints a table with ratios first, and writes bench/results/latest.json."""

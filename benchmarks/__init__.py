"""Benchmarks. `make bench` runs them all; `python -m benchmarks texture` one. Each figure is a ratio taken in one run."""

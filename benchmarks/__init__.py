"""Measurements, not tests: each compares two things in one run and prints their ratio (docs/benchmarks.md)."""

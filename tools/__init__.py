"""Keeps the notebooks, the package and the README in step with one another."""

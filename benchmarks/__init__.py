"""Figures of speed and size, each a ratio against something run beside it. ``python -m benchmarks`` runs them all."""

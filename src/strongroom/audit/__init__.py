"""Audit sinks: places that take finished lines. One file per kind, found by name through the entry points."""

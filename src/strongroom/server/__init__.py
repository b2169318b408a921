"""Doors and processes: HTTP in front of the pipeline, the supervisor and its workers, configuration."""

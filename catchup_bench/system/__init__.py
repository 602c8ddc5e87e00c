"""Files, hardware, signals and provenance."""

"""The exporter's process: what Tocsin shows of itself, and the only listener."""

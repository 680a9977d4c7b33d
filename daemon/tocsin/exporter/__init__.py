"""The exporter's process. It serves the metrics, the pages and the API, and is the only one that listens."""

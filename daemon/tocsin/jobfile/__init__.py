"""The job file as written."""

"""The job file as it is written."""

"""One HTTP call: its attempts, its connection, its reply and what the reply means."""

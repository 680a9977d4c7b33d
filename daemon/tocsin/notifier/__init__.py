"""Tells people: decides what is worth a message, and sends it. A process of its own, only where the job file asks."""

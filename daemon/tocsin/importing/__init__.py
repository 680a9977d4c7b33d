"""Other schedulers' files as job tables: one pure reader for each format, and what changes in the move.

A reader takes a file's text and its name, and returns `Found`; it raises ConfigError, and nothing else.
"""

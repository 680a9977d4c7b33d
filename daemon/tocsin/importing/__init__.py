"""Turns other schedulers' files into job tables, with a pure reader for each format. Reports what changes in the move.

A reader takes a file's text and its name, and returns `Found`. It raises only ConfigError.
"""

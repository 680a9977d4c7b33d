"""The commands, one file for each. `cli` collects them."""

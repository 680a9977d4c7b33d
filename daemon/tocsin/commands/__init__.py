"""The commands, one function each; `cli` puts them together."""

"""The commands, one file each; `cli` puts them together."""

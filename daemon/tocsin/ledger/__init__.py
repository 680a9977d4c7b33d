"""The process that remembers the fate of every due slot, durably."""

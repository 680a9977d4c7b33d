"""The process that stores the outcome of every slot."""

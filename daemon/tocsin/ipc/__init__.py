"""The messages between processes, and the types and rules that several processes share."""

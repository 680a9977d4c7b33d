"""The parent: forks, watches, relays. One thread; it opens no connection and writes no file but its lock."""

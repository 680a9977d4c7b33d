"""The parent process: it forks the others, watches them and relays their messages.

It has one thread, opens no connections, and writes only its lock file.
"""

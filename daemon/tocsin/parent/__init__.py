"""The parent: forks, watches, relays. One thread, no network, no disk writes but its lock and control socket."""

"""[notify]: does Apprise take the addresses? That they are reached, a test message shows, and a running daemon says."""

from collections.abc import Iterator

from tocsin.config import Config
from tocsin.doctor.finding import Finding, fail, ok

ADDRESS, HEARTBEAT = "notify.address", "notify.heartbeat"


def check(config: Config) -> Iterator[Finding]:
    """Sends nothing and pings nobody."""
    settings = config.notify
    if settings is None:
        return
    if settings.urls:
        from tocsin.notifier import address, sender

        sender.set_up()
        for one in address.of(settings.urls):
            sender.load(one)
            if one.why:
                yield fail(ADDRESS, one.label, one.why, "write it as Apprise's page on that service says")
            else:
                yield ok(ADDRESS, one.label, "Apprise takes it; tocsin notify --test sends a message")
    if settings.heartbeat_url:
        yield ok(HEARTBEAT, "heartbeat_url_env", "is pinged each minute while all is well")

"""Sends messages with Apprise: the one module that imports it. Each attempt has a thread and a deadline."""

import logging
import os
import threading
from collections.abc import Callable

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.manager_plugins import NotificationManager
from apprise.plugins.base import NotifyBase

from tocsin import log
from tocsin.notifier.address import Address
from tocsin.notifier.pace import Message, Mood
from tocsin.redact import redact

DEADLINE = 30.0  # seconds for one attempt: a mail server answers several times, each time after some seconds
STUCK = 3  # attempts of one address that may hang at once: each has a thread that nothing can end
LONGEST_WHY = 300  # characters of a reason

_TYPES: dict[Mood, NotifyType] = {
    "failure": NotifyType.FAILURE,
    "success": NotifyType.SUCCESS,
    "warning": NotifyType.WARNING,
    "info": NotifyType.INFO,
}


class _Reasons(logging.Handler):
    """Keeps what Apprise logs, for each thread. Only its log says why an attempt failed."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = redact(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.said[threading.get_ident()] = text[:LONGEST_WHY]
        log.debug("apprise", said=text)


_reasons = _Reasons()


def set_up() -> None:
    """Call this once in a process. What Apprise logs goes through the filter of secrets. Its debug lines are dropped,
    because they have whole requests in them."""
    logger = logging.getLogger("apprise")
    logger.handlers[:] = [_reasons]
    logger.propagate = False
    logger.setLevel(logging.INFO if log.logger.isEnabledFor(logging.DEBUG) else logging.WARNING)
    logging.getLogger("urllib3").propagate = False
    if "SSL_CERT_FILE" in os.environ:  # the library requests does not read it
        os.environ.setdefault("REQUESTS_CA_BUNDLE", os.environ["SSL_CERT_FILE"])


def load(address: Address) -> None:
    """Prepare the address for sending. If that fails, its `why` says why."""
    asset = AppriseAsset(
        app_id="Tocsin",
        app_desc="Tocsin",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,  # a redirect would take the secret elsewhere
        async_mode=False,
        pgp_autogen=False,
        pem_autogen=False,
    )
    try:
        address.plugin = Apprise.instantiate(address.url, asset=asset)
    except Exception as error:  # noqa: BLE001 - of any of a hundred plugins
        log.debug("apprise", said=type(error).__name__)
    _reasons.said.pop(threading.get_ident(), None)  # these lines may repeat parts of the address
    if address.plugin is None:
        known = address.kind in NotificationManager()  # type: ignore[no-untyped-call]
        address.why = "Apprise cannot read this address" if known else f"Apprise does not know {address.kind}://"
    address.loaded = True


def send(address: Address, message: Message, done: Callable[[str | None], None]) -> None:
    """Begin an attempt. When it ends, `done` is called from another thread, with None or with why it failed."""
    address.threads = {one for one in address.threads if one.is_alive()}
    plugin = address.plugin
    if not isinstance(plugin, NotifyBase):
        done(f"cannot be used: {address.why}")
        return
    if len(address.threads) >= STUCK:
        done(f"{STUCK} earlier attempts still hang")
        return
    thread = threading.Thread(target=_attempt, args=(plugin, message, done), daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        done(str(error))
        return
    address.threads.add(thread)


def _attempt(plugin: NotifyBase, message: Message, done: Callable[[str | None], None]) -> None:
    me = threading.get_ident()
    try:
        taken = plugin.notify(
            title=redact(message.title),
            body=redact(message.body),
            notify_type=_TYPES[message.mood],
            body_format=NotifyFormat.TEXT,
        )
    except Exception as error:  # noqa: BLE001 - of any of a hundred plugins
        why: str | None = redact(f"{type(error).__name__}: {error}")[:LONGEST_WHY]
    else:
        why = None if taken else _reasons.said.get(me, "Apprise does not say why")
    _reasons.said.pop(me, None)
    done(why)

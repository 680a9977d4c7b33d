"""Turns a call into a job's table. Every secret goes to an environment variable, and is never written or shown."""

import re
from collections.abc import Set
from typing import Any
from urllib.parse import unquote

from tocsin.importing.cron_jobs import METHODS
from tocsin.importing.found import Found, literal, looks_secret
from tocsin.importing.request import Call
from tocsin.importing.shell import MARK, Unclear, mark
from tocsin.jobfile.values import OWN_HEADERS
from tocsin.redact import looks_random, names_a_secret

_LONE = re.compile("\x01([A-Za-z_][A-Za-z0-9_]*)\x02")  # a word that is a single variable without a default
_IN_JSON = re.compile(r'"([^"\\]{1,100})"(\s*:\s*)"((?:[^"\\]|\\.)+)"')
_IN_FORM = re.compile(r"(^|&)([^=&]{1,100})(=)([^&]+)")
_IN_PATH = re.compile(MARK.pattern + "|(?<=/)[^/\x01\x02]{20,}")  # variables are skipped
_IN_DATA = re.compile(MARK.pattern + "|[A-Za-z0-9_-]{20,}")


class Variables:
    """The environment variables that the jobs need: those of the crontab, and new ones for secrets written in it.

    `taken` are names that new variables must not have.
    """

    def __init__(self, found: Found, taken: Set[str], *, of: str = "the crontab") -> None:
        self.found = found
        self.of = of
        self.taken = taken | {"CRON_SECRET"}  # reserved for the target
        self.known: dict[str, tuple[str, str]] = {}  # name -> value and place, from the lines so far
        self.used: dict[str, str | None] = {}  # name -> the value that a job uses; None: from the environment
        self.made: dict[tuple[str, bool], str] = {}  # secret, and whether it is encoded for Basic -> its variable

    def read_in(self, text: str, *, plain: bool = False) -> str:
        """Write text with marks for the job file. `plain`: fill in variables of the crontab that are not secret."""
        parts: list[str] = []
        end = 0
        for one in MARK.finditer(text):
            parts.append(literal(text[end : one.start()]))
            name, default, end = one[1], one[2], one.end()
            if default and looks_secret(default):
                raise Unclear("a secret has a default")
            value = self.known.get(name, ("", ""))[0]
            if plain and value and not names_a_secret(name) and not looks_secret(value) and "?" not in value:
                parts.append(literal(value))
            else:
                self.needs(name, default)
                parts.append(f"${{{name}}}" if default is None else f"${{{name}:-{default}}}")
        return "".join(parts) + literal(text[end:])

    def needs(self, name: str, default: str | None = None) -> None:
        """A job uses the variable. Raises Unclear if another job uses it with another value."""
        value = self.known[name][0] if name in self.known else None
        if name not in self.made.values() and self.used.setdefault(name, value) != value:
            raise Unclear(f"{name} has another value in an earlier line, but Tocsin's environment has only one")
        if name in self.known:
            self.found.note("set", "", f"{name}: to the value that {self.known[name][1]} of {self.of} sets")
        elif default is None and name not in self.made.values():
            self.found.note("set", "", f"{name}: to the value that the commands of {self.of} had in their environment")

    def hide(self, secret: str, job: str, place: str, what: str, *, suffix: str = "SECRET") -> str:
        """Name a variable for a secret in the crontab. Adds a note to set it, without showing it."""
        for name, (value, _) in self.known.items():
            if value == secret and suffix != "BASIC":
                self.needs(name)
                return name
        key = secret, suffix == "BASIC"
        if key not in self.made:
            stem = re.sub(r"[^A-Z0-9]+", "_", job.upper()).strip("_")
            stem = f"JOB_{stem}" if stem[:1].isdigit() else stem
            name = f"{stem}_{suffix}"
            count = 1
            while name in self.made.values() or name in self.known or name in self.taken:
                count += 1
                name = f"{stem}_{suffix}_{count}"
            self.made[key] = name
            self.found.made.add(name)
            self.found.note("set", "", f"{name}: to {what} of {place}; it is a secret and was not copied")
        return self.made[key]


def table(call: Call, name: str, place: str, variables: Variables) -> dict[str, Any]:
    """Return the keys of the job that makes the call. Raises Unclear."""
    return _Table(call, name, place, variables).keys()


class _Table:
    def __init__(self, call: Call, name: str, place: str, variables: Variables) -> None:
        self.call = call
        self.name = name
        self.place = place
        self.variables = variables
        self.secret: dict[str, str] = {}  # the keys of the job's one secret

    def keys(self) -> dict[str, Any]:
        call = self.call
        if call.method not in METHODS:
            raise Unclear("Tocsin does not support this method")
        self._user()
        headers = dict(self._header(*one) for one in self._headers())
        keys: dict[str, Any] = {"method": call.method, "url": self._url()}
        keys |= self.secret or {"send_secret": "none"}
        headers = {key: text for key, text in headers.items() if text}
        content_type = next((key for key in headers if key.lower() == "content-type"), "")
        if call.body is not None:
            keys["body"] = self._body(call.body)
            keys["content_type"] = headers.pop(content_type, call.content_type)
        if headers:
            keys["headers"] = headers
        for key, seconds in (("timeout", call.timeout), ("connect_timeout", call.connect_timeout)):
            if seconds is not None:
                keys[key] = f"{int(seconds)}s" if seconds == int(seconds) else f"{max(1, int(seconds * 1000))}ms"
        if call.retries is not None:
            keys["retries"] = min(call.retries, 20)
        return keys

    def _keep(self, sent: str, text: str, what: str) -> bool:
        """Make the text the job's secret, if it has none yet and the text is a single variable or literal."""
        if self.secret or (MARK.search(text) and not _LONE.fullmatch(text)):
            return False
        variable = self._variable(text, what)
        self.secret = {"secret_env": variable, "send_secret": sent}
        return True

    def _variable(self, text: str, what: str) -> str:
        if lone := _LONE.fullmatch(text):
            self.variables.needs(lone[1])
            return lone[1]
        return self.variables.hide(text, self.name, self.place, what)

    def _hidden(self, text: str, what: str) -> str:
        """Return a reference to the secret. If the text has variables, the secret is assumed to be in them."""
        if marks := list(MARK.finditer(text)):
            if any(one[2] for one in marks):
                raise Unclear("a secret has a default")
            return self.variables.read_in(text)
        return f"${{{self._variable(text, what)}}}"

    def _user(self) -> None:
        """Add Basic authentication (RFC 7617). Tocsin takes the whole header from a variable."""
        if not self.call.user:
            return
        made = "`Basic ` and the base64 of the user:password"
        variable = self.variables.hide(self.call.user, self.name, self.place, made, suffix="BASIC")
        self.secret = {"secret_env": variable, "send_secret": "authorization"}

    def _headers(self) -> list[tuple[str, str]]:
        headers = list(self.call.headers)
        if self.call.bearer:
            headers.append(("Authorization", f"Bearer {self.call.bearer}"))
        lowered = [name.lower() for name, _ in headers]
        if len(set(lowered)) < len(lowered):
            raise Unclear("the same header twice")
        if "host" in lowered:
            headers = self._without_host(headers)
        if self.secret and "authorization" in lowered:
            raise Unclear("both a user and an Authorization header")
        return headers

    def _without_host(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Check the Host header. One that differs from the address means a virtual host."""
        _, _, rest = self.call.url.rpartition("://")
        address = re.split("[/?#]", rest, maxsplit=1)[0]
        if any(name.lower() == "host" and text != address for name, text in headers):
            raise Unclear(
                "sets the header Host: Tocsin sends the name in the address, so give that name its address in "
                "/etc/hosts (or the container's extra_hosts) and call it by the name"
            )
        return [(name, text) for name, text in headers if name.lower() != "host"]

    def _header(self, name: str, text: str) -> tuple[str, str]:
        """Return name and value for the job file, or no value if the job does not need the header."""
        if name.lower() in OWN_HEADERS:
            self.variables.found.note("left out", self.place, f"the header {name[:40]!a}: Tocsin sets it itself")
            return name, ""
        what = f"the value of the header {name}"
        if not names_a_secret(name):
            return name, self._hidden(text, what) if looks_secret(text) else self.variables.read_in(text)
        if name.lower() == "authorization":
            scheme, _, rest = text.partition(" ")
            if scheme.lower() == "bearer" and self._keep("bearer", rest.strip(), "what follows `Bearer `"):
                return name, ""
            sent = "authorization"
        else:
            sent = f"header:{name}"
        return name, "" if self._keep(sent, text, what) else self._hidden(text, what)

    def _url(self) -> str:
        address = self.call.url.partition("#")[0]
        base, question, query = address.partition("?")
        if "://" not in base and not MARK.match(base):
            base = f"http://{base}"
        base = self._without_random(_IN_PATH, base, "path", "PATH")
        url = self.variables.read_in(base, plain=True)
        parameters = [kept for one in query.split("&") if (kept := self._parameter(one))] if question else []
        for name, value in self.call.encoded:
            if not _LONE.fullmatch(value) or not self._keep(f"query:{unquote(name)}", value, f"{name} in the query"):
                raise Unclear("--data-urlencode of a variable: Tocsin encodes one, if it is the job's secret")
        return url + ("?" + "&".join(parameters) if parameters else "")

    def _without_random(self, parts: re.Pattern[str], text: str, where: str, suffix: str) -> str:
        """Replace each part that looks random by a mark."""

        def hidden(part: re.Match[str]) -> str:
            if not looks_random(part[0]):
                return part[0]
            what = f"the long part of the {where}"
            return mark(self.variables.hide(part[0], self.name, self.place, what, suffix=suffix))

        return parts.sub(hidden, text)

    def _parameter(self, text: str) -> str:
        """Return a parameter of the query for the URL, or "" if it is the job's secret."""
        name, equals, value = text.partition("=")
        if not equals:
            name, value = "", text
        named = names_a_secret(unquote(name))
        if not value or MARK.search(name) or not (named or looks_secret(value)):
            return self.variables.read_in(text)
        what = f"the value of {name} in the query" if name else "a part of the query"
        if named and self._needs_no_encoding(value) and self._keep(f"query:{unquote(name)}", value, what):
            return ""
        return literal(name + equals) + self._hidden(value, what)

    def _needs_no_encoding(self, value: str) -> bool:
        """Whether Tocsin, which encodes a secret, sends the same as curl, which does not. Unknown ones may differ."""
        if lone := _LONE.fullmatch(value):
            value = self.variables.known.get(lone[1], ("%", ""))[0]
        return not set(value) & set("%+&#")

    def _body(self, body: str) -> str:
        def in_json(pair: re.Match[str]) -> str:
            if not names_a_secret(pair[1]) or MARK.search(pair[3]):
                return pair[0]
            secret = mark(self.variables.hide(pair[3], self.name, self.place, f"{pair[1]} in the data"))
            return f'"{pair[1]}"{pair[2]}"{secret}"'

        def in_form(pair: re.Match[str]) -> str:
            if not names_a_secret(pair[2]) or MARK.search(pair[4]):
                return pair[0]
            secret = mark(self.variables.hide(pair[4], self.name, self.place, f"{pair[2]} in the data"))
            return f"{pair[1]}{pair[2]}={secret}"

        body = _IN_JSON.sub(in_json, body)
        if not body.lstrip().startswith(("{", "[")):
            body = _IN_FORM.sub(in_form, body)
        return self.variables.read_in(self._without_random(_IN_DATA, body, "data", "SECRET"))

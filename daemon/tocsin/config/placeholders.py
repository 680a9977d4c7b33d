"""Recognizes values that are not secrets: placeholders of templates, and references that nobody resolved.

Everybody who copied the template has the same value, so it protects nothing.
"""

import re

# Words of templates and tutorials, without case, spaces and punctuation.
WORDS = {"secret", "password", "test", "example", "todo", "placeholder"}
_LEFT = WORDS | {"changeme", "cronsecret", "mysecret", "hidden", "masked", "redacted", "sensitive", "sensitivevalue"}
_TEMPLATE = re.compile(
    r"^your.*(secret|key|token|password)|change.?me|replace.?(me|this)|placeholder"
    r"|^what.openssl.printed$|^the.secret.that.the.app.checks$"
    r"|^<.*>$|^\[.*\]$|^(?P<same>.)(?P=same){3,}$"
)
_NOT_MADE = (
    (re.compile(r"\$\(.+\)|`.+`"), "a command that was not run"),
    (re.compile(r"\$\{\{.*\}\}|\{\{.*\}\}|\{%.*%\}|<%.*%>|#\{.*\}|@@.+@@"), "a template that was not filled in"),
    (re.compile(r"^\$(env:)?[A-Za-z_][A-Za-z0-9_]*$|^\$\{[^{}]*\}$"), "a variable that was not filled in"),
    (re.compile(r"^%[A-Za-z_][A-Za-z0-9_]*%$|^%\([A-Za-z0-9_]+\)s$"), "a variable that was not filled in"),
    (
        re.compile(
            r"^(op|vault|secretref|encrypted|doppler|ssm|aws-ssm|gcp-sm|awssm|ref\+[a-z]+):"
            r"|^arn:aws:(secretsmanager|ssm):|^projects/[^/]+/secrets/|^@Microsoft\.KeyVault\(|^ENC\[",
        ),
        "a reference that was not resolved",
    ),
)


def placeholder(value: str) -> str:
    """Say what the value is instead of a secret, without repeating any of it. "" if it may be a secret."""
    for pattern, what in _NOT_MADE:
        if pattern.search(value):
            return what
    plain = re.sub(r"[^a-z0-9]", "", value.lower())
    if not plain or plain in _LEFT or plain.rstrip("0123456789") in _LEFT or _TEMPLATE.search(value.lower()):
        return "a placeholder from a template"
    return ""

"""Keeps account numbers and credentials out of everything that is printed or written.

The verifier's container never receives a credential; log lines of the gateway and texts of exceptions may still hold
one. What is printed on the operator's machine is masked with the very values, read from the gateway's container
(healthcheck.credential_files).
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from pydantic import JsonValue

from healthcheck.text import clean, clean_lines

# Account numbers: live U1234567 (F and I for advisors), paper DU, DF, DI and DUP... (the prefixes in Lean's rule).
ACCOUNT = re.compile(r"(?<![A-Za-z0-9])(D[A-Z]{1,2}|[UFI])(\d{4,10})(?![A-Za-z0-9])")

# Keys of IBC's config.ini, of the image's environment and of the secret, followed by a value up to the line's end.
CREDENTIAL = re.compile(
    # What stands before the key in its word is left alone anyway, and what stands after it is bounded: a word without
    # end, which a log may have, would take the square of its length.
    r"(?i)(login_?id|tws_userid\w{0,64}|user_?id|password\w{0,64}|passwd|totp\w{0,64}|secret|api_?key|token)"
    r"(\"?\s*[=:]\s*)(\S.*)$",
    re.MULTILINE,
)


def mask_account(account: str) -> str:
    """`DU1234567` becomes `DU***567`: enough to tell accounts apart, too little to act on."""
    letters = len(account) - len(account.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    return f"{account[:letters]}***{account[-3:]}"


def spellings(escaped: str) -> Iterator[str]:
    """The forms in which a credential may turn up, from how its file has it: `\\uXXXX` units (UTF-16) for most."""
    units = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda unit: chr(int(unit[1], 16)), escaped)
    plain = units.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    yield from (escaped, plain, repr(plain)[1:-1], json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1])
    yield from (quote(plain, safe=""), plain.replace("\\", "\\\\"), clean(plain))


class Redactor:
    """Masks account numbers, unless `show_accounts`, and credentials, always: `credentials` in every spelling, and what
    follows the name of one."""

    def __init__(
        self, *, show_accounts: bool = False, accounts: Iterable[str] = (), credentials: Iterable[str] = ()
    ) -> None:
        forms = {form for credential in credentials if credential for form in spellings(credential)}
        self._credentials = sorted(forms, key=len, reverse=True)
        self._show_accounts = show_accounts
        # Longest first, so that an account which begins with another one's number is masked whole.
        self._known = sorted({account for account in accounts if len(account) > 3}, key=len, reverse=True)

    def text(self, text: str) -> str:
        for credential in self._credentials:
            text = text.replace(credential, "***")
        if not self._show_accounts:
            for account in self._known:
                text = text.replace(account, mask_account(account))
            text = ACCOUNT.sub(lambda account: mask_account(account.group()), text)
        return CREDENTIAL.sub(r"\1\2***", text)

    def value(self, value: JsonValue) -> JsonValue:
        """The same for every string and key of a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        return value


class RedactingFilter(logging.Filter):
    """For a logging handler: libraries log the fields of messages, account numbers included."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = clean_lines(self._redactor.text(record.getMessage()))
        record.args = ()
        if record.exc_info:
            record.exc_text = clean_lines(self._redactor.text(logging.Formatter().formatException(record.exc_info)))
            record.exc_info = None
        return True

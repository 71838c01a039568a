"""A secret's document from a person or a program: typed without echo, or read from a descriptor. Never from an argument
or an environment, which others can see."""

import getpass
import os
import sys
import warnings

from pydantic import SecretStr

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra.secret_document import parse, render

_LONGEST = 65_536
"""Secrets Manager's own limit, in bytes."""


def document(secret_id: str, mode: Mode, fd: int | None, *, user_id: SecretStr | None = None) -> SecretStr:
    """A document that the program takes, in its own form. From `fd`, or else from standard input, unless that is a
    terminal: there it is asked for. `user_id`: of who stays the same, and is not asked for.

    Raises IbgwError: REFUSED for what the program would refuse, BAD_USAGE where nothing can be read.
    """
    if fd is None and sys.stdin.isatty():
        user = user_id or _hidden("IBKR user id: ")
        password, again = _hidden("IBKR password: "), _hidden("The password again: ")
        if password != again:
            raise IbgwError("The two passwords differ; nothing was changed.", exit_code=ExitCode.REFUSED)
        return checked(secret_id, mode, user, password)
    return SecretStr(render(*parse(secret_id, _read(fd or 0).get_secret_value(), mode), mode))


def checked(secret_id: str, mode: Mode, user_id: SecretStr, password: SecretStr) -> SecretStr:
    """The document of these two, once the program takes it. Raises IbgwError (REFUSED)."""
    made = render(user_id.get_secret_value(), password.get_secret_value(), mode)
    parse(secret_id, made, mode)
    return SecretStr(made)


def _hidden(question: str) -> SecretStr:
    with warnings.catch_warnings():
        # Where a terminal cannot be kept from showing what is typed, getpass warns and goes on.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return SecretStr(getpass.getpass(question))
        except getpass.GetPassWarning:
            shows = True
        except EOFError:
            shows = False
    if shows:
        raise IbgwError(
            "This terminal would show what is typed. Use another one, or give the document on standard input.",
            exit_code=ExitCode.REFUSED,
        )
    raise IbgwError("Nothing was typed; nothing was changed.", exit_code=ExitCode.DECLINED)


def _read(fd: int) -> SecretStr:
    where = f"descriptor {fd}" if fd else "standard input"
    read = bytearray()
    try:
        while piece := os.read(fd, _LONGEST):
            read += piece
            if len(read) > _LONGEST:
                raise IbgwError(
                    f"{where} holds more than a secret can ({_LONGEST} bytes).", exit_code=ExitCode.BAD_USAGE
                )
    except OSError as error:
        raise IbgwError(f"{where} cannot be read: {error.strerror}.", exit_code=ExitCode.BAD_USAGE) from None
    if not read.strip():
        raise IbgwError(f"{where} is empty; expected the secret's JSON document.", exit_code=ExitCode.BAD_USAGE)
    return SecretStr(decoded(bytes(read), where))


def decoded(read: bytes, where: str) -> str:
    """Raises IbgwError (REFUSED) for what is no UTF-8; the error quotes nothing of it."""
    if read.startswith((b"\xff\xfe", b"\xfe\xff")):
        fault = "begins with a byte-order mark, of UTF-16"
    else:
        try:
            return read.decode("utf-8")
        except UnicodeDecodeError:
            fault = "is not UTF-8"
    raise IbgwError(f"{where} {fault}; save it as UTF-8 without one.", exit_code=ExitCode.REFUSED)

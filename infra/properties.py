"""Values as the image's settings take them."""


def escape(value: str) -> str:
    r"""A value as IBC's config.ini must hold it: java.util.Properties.load reads `\uXXXX` as one UTF-16 unit.

    Everything but ASCII letters and digits is written so. That makes one rule serve the properties file, the image's
    `envsubst` (no `$` is left) and the shell (no quote, blank or backslash sequence of its own is left).
    """
    units = value.encode("utf-16-be")
    pairs = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(unit) if unit < 128 and chr(unit).isalnum() else f"\\u{unit:04X}" for unit in pairs)

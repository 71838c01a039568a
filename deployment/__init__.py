"""What a gateway is, in plain data. Used by every other package; imports none of them."""

VERSION = "0.2.0"
"""Of everything here: pyproject.toml takes it from this line, since the verifier's image has no package metadata."""

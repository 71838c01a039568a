import sys

# Nothing here is encrypted, and asyncio and hashlib do without OpenSSL: 5 MB less in each gateway.
sys.modules["ssl"] = sys.modules["_hashlib"] = None  # type: ignore[assignment]

from .program import main  # noqa: E402

main()

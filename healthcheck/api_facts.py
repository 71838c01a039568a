"""What the API's answers say of a login. Pure, and nothing of a client: also for who asks without one."""

# Connectivity between the gateway and IBKR (message codes of the TWS API reference).
LOST = frozenset({1100, 2110})
RESTORED = frozenset({1101, 1102})


def account_kind(account: str) -> str:
    """Paper accounts begin with D (DU, DF, DI); no live account does."""
    return "paper" if account.startswith("D") else "live"

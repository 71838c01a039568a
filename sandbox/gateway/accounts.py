"""Account numbers, as IBKR forms them."""


def is_master(account: str) -> bool:
    """Whether it is a financial adviser's own, over those of the clients: F..., on paper DF... (QuantConnect/Lean,
    `IsMasterAccount`)."""
    return account.removeprefix("D").startswith("F")

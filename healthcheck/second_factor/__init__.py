"""What types the codes of an authenticator into a gateway's dialog: a container of its own beside the gateway, without
a network, which has of the gateway only its display (docs/accounts.md). It knows the seed, and nothing else does."""

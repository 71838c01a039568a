"""The sandbox's broker: one process that plays IBKR for any number of simulated gateways.

Users and passwords, lockout, second factor, one session a user, accounts, a market, orders; and scenarios, which put a
user into a named state. Gateways reach it over TCP (`server`), tests and the sandbox's commands through a
control port (`control`).
"""

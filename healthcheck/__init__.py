"""Says whether a trader could trade through a gateway now and, if not, why not and what to do.

Imports `deployment` and nothing else of ours, and no Pulumi: the same package runs in the verifier's container.
"""

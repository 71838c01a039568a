"""`pulumi-language-python` where the official language host is not installed: runs programs and policy packs."""

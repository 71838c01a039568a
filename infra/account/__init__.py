"""A Pulumi program of its own: the AWS account that the gateways' stacks need, deployed once (docs/account.md)."""

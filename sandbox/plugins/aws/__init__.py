"""A stand-in for pulumi-aws, through boto3: what the gateways' program asks of Secrets Manager, and the kinds of
resources of `infra/account`. It refuses the rest by name."""

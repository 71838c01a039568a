"""A stand-in for pulumi-aws that answers `aws.secretsmanager.get_secret_version` and `get_secret_versions` through
boto3 and refuses the rest."""

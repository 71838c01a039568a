"""Component resources, one a file, and what they are made of. Each takes plain data (infra.spec)."""

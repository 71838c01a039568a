"""Component resources, one a file. Each takes plain data (infra.spec) and declares its outputs."""

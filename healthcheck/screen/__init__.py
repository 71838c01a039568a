"""A gateway's screen, over the X protocol alone: what is on it, and hands on it. Knows nothing of Docker."""

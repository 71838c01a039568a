"""A stack watched all the time: what is told of it, by whom, and the metrics made of that."""

"""`ibgw report`: how a watched stack fared, from its watcher's own history."""

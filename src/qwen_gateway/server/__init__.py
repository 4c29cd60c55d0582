"""The HTTP face: routes, keys, bounded bodies, streams. Knows dialects and the relay; no site, no disk."""

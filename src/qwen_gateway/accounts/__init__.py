"""The user's own session at the site: what they pasted, and what has become of it since. Pure."""

"""Sessions at the site: what was pasted, what has become of it since, and when each may be used. Pure."""

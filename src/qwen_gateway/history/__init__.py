"""A conversation as the site takes it: one message. Pure."""

"""Sites that answer: what to send them, and what their bytes mean. One folder each. Pure."""

"""Calls of the client's tools on a site that knows none of them: taught in the prompt, read out of the answer. Pure."""

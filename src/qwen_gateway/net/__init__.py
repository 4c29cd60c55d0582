"""The network. The only package that imports an HTTP client."""

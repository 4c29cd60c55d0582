"""What a file is, from its bytes and its name, and whether a model and the site take it."""

"""The forms in which browsers and their extensions hand out a request or its cookies, one module for each. Pure."""

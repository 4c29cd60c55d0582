"""The one internal turn: what a client asked, what comes back, and what can go wrong.

Everything else is written in these words. Nothing here knows a dialect, an upstream, a socket or a clock.
`docs/decisions/0001-turn.md` shows where each field of each client dialect goes.
"""

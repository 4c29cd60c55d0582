"""Stages between the upstream's events and the dialect's: `feed(events) → events`, `close() → events`. Pure."""

"""A faithful fake of the Qwen web chat, for tests, demos and outside test kits.

It speaks the site's wire protocol as recorded (sources and dates stand beside each behaviour) and imports
nothing else of the gateway: a fake that shared the gateway's decoder would share its mistakes. Users' guide:
docs/simulator.md.
"""

from .server import Simulator, run

__all__ = ["Simulator", "run"]

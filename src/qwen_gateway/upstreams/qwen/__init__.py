"""The web chat at chat.qwen.ai.

Undocumented; what is known was recorded or measured by others, and each module says by whom and when it
matters. Keys of the site's JSON appear in this package only.
"""

from qwen_gateway.upstreams.qwen.headers import SiteConfig
from qwen_gateway.upstreams.qwen.site import QwenSite

__all__ = ["QwenSite", "SiteConfig"]

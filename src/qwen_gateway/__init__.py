"""Qwen Gateway: the models of your own chat.qwen.ai account, behind the APIs that programs already speak."""

__version__ = "0.1.0"

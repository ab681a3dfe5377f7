"""Prices: FLOPs and compulsory bytes of an operator's signature, from PyTorch's meta device and a few rules."""

RULES_VERSION = 3
"""Stored with every price; raise it with every change of a rule's numbers."""

"""Prices: FLOPs and compulsory bytes of an operator's signature, from PyTorch's meta device and a few rules."""

RULES_VERSION = 2
"""Stored with every price; raise it with every change of a rule's numbers."""

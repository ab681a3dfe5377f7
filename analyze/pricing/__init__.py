"""Prices: FLOPs and compulsory bytes of an operator's signature, by rules of our own, else by PyTorch's meta device."""

RULES_VERSION = 4
"""Stored with every price; raise it with every change of a rule's numbers."""

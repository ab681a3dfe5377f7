"""What an operator costs: FLOPs and compulsory bytes of a signature, from PyTorch's meta device and a few rules."""

RULES_VERSION = 2
"""Goes up whenever a rule changes what it answers; stored with every price."""

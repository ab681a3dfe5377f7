"""Traces in, priced and attributed rows out: decode, attribute, price, balance the ledger, load."""

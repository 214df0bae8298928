"""Agents that act one step at a time, without threads of their own: they read and write the bucket as the core decides.

Each step can be interrupted anywhere: what it left behind is found in the ledger and finished by the next one.
"""

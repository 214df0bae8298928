"""The operator's toolkit."""

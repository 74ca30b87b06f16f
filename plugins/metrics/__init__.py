"""Metrics: each module that does not start with an underscore registers specs and imports nothing heavy."""

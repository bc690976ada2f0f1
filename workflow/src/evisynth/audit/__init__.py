"""Checks of extracted numbers: rules in one registry, findings that never change a number."""

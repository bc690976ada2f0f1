"""Drawings: a description of each (`spec`), its look (`style`) and its drawing (`forest`)."""

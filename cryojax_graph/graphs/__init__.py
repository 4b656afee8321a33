"""Graphs of residues, their padding, and message passing on them."""

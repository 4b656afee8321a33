"""Continuous motion of a protein backbone, image by image; a node is a C-alpha of a template.

The published system (Krook, Janson, Andén, Weber & Öktem 2026) and one that goes beyond it.
"""

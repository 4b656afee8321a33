"""The differentiable forward model: structure, pose and CTF to image."""

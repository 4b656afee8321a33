"""Files to plain numpy and back; never imports jax."""

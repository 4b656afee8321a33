"""Files in, files out: one module per verb of the command line."""

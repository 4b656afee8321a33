"""State, step, loop, checkpoint, batches; knows no system."""

"""The systems: config, network, objective, predict; pure functions of parameters."""

"""Training tasks: data, loss and validation of each network, one task a file."""

"""Known checkpoints: find, check and load them, with their adapters, on a device."""

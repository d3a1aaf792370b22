"""The parts of the simulated shop, by subject; `training.simulate` puts them together."""

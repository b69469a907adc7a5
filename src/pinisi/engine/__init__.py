"""Does one step of training on one rank: passes, gradients and the update."""

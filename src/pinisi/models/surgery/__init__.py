"""Changes the shape of a model: what it was before is what it does after, as far as that can be."""

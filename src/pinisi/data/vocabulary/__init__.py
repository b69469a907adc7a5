"""Changes vocabularies: trains, trims and extends the tokenizers that byte-pair encoding makes, and reports what one costs."""

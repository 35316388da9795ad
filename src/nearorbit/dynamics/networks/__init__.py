"""Networks, in ensembles."""

"""Small models with the attributes and methods of published remote code, to be copied into a model folder."""

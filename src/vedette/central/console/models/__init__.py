"""The registry of models: the list, one model's versions, one version with its gates."""

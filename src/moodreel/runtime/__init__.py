"""From a bundle and a file to scores: no torch, nothing that trains."""

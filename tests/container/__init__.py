"""`make container-test`: the image and compose.yaml, as the documentation has them, on a Docker engine."""

"""Run the pipeline's stages from a command line: parse arguments, read, transform, write."""

"""One module per rule of the workflow: files and parameters in, files out."""

"""The HTTP server: the compatible API, our own, and the pages."""

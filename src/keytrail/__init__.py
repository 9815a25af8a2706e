"""keytrail: which endpoints of an API gateway were called, with which key, how often and how fast."""

__version__ = "0.1.0"

"""A photo and a voice become a video of that face saying it (Speech2Vid, IJCV 2019)."""

__version__ = "0.1.0"
